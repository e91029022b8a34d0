"""Who has seen what machines say: of one item, or of many by a file or a list. Rows are only ever added."""

from django.db import models

from annotate.models.item import Item
from annotate.models.project import Project
from annotate.models.user import User


class SeenLabel(models.Model):
    """A person saw a machine's label of this one item, first at this time: on its page, by the API, or revealed."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", db_index=False)
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="seen_labels")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "item"], name="seen_label_once")]

    def __str__(self) -> str:
        return f"{self.item_id} by {self.user_id}"


class Download(models.Model):
    """A person got machines' labels of many items at once: those with an ordinal up to `last_ordinal`.

    Written before the first byte is sent. The same file got again is no second row.
    """

    class Kind(models.TextChoices):
        EXPORT = "export"  # a file of an export
        COMMAND = "command"  # an export that a command wrote on the server
        PREDICTIONS = "predictions"  # the list of machines' answers, or lines of a file that had some

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="downloads", db_index=False)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    what = models.CharField(max_length=300)  # which export and file, or what the list was narrowed to
    last_ordinal = models.PositiveBigIntegerField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user", "kind", "what", "last_ordinal"], name="download_once")
        ]

    def __str__(self) -> str:
        return f"{self.what} by {self.user_id}"
