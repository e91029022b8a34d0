"""Items, and the uploads and imports that they come from. Items never change: a corrected one is another item."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.project import Project
from annotate.models.run import Run
from annotate.models.user import User


class Upload(models.Model):
    """A file that somebody sent. The file is kept until somebody, or the hourly cleanup, discards it; the row stays."""

    public_id = PublicIdField()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="uploads")
    file_name = models.CharField(max_length=255)  # on the sender's computer
    file = models.CharField(max_length=200)  # its name in the store
    file_sha256 = models.CharField(max_length=64)
    n_bytes = models.PositiveBigIntegerField()
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)  # when the file was discarded

    class Meta:
        indexes = [models.Index(fields=["project", "created_at"], name="upload_of_a_day")]

    def __str__(self) -> str:
        return self.file_name


class UploadReservation(models.Model):
    """Room in a project's quota for a file that is being sent; the row goes when the file is there, or is refused."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="upload_reservations")
    n_bytes = models.PositiveBigIntegerField()  # the most that it may have
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.n_bytes} bytes"


class Import(models.Model):
    """The import of one file. Its items stay hidden until it is complete."""

    class State(models.TextChoices):
        RUNNING = "running"
        COMPLETE = "complete"

    public_id = PublicIdField()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    upload = models.ForeignKey(Upload, null=True, on_delete=models.PROTECT, related_name="imports")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="imports")  # completed it
    file_name = models.CharField(max_length=255)
    file_sha256 = models.CharField(max_length=64)
    options = models.JSONField(default=dict)
    state = models.CharField(max_length=20, choices=State.choices, default=State.RUNNING)
    cursor = models.PositiveBigIntegerField(default=0)  # lines of the file whose items are committed
    n_items = models.PositiveBigIntegerField(default=0)
    n_revived = models.PositiveBigIntegerField(default=0)
    n_duplicates = models.PositiveBigIntegerField(default=0)
    n_rejected = models.PositiveBigIntegerField(default=0)
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=Q(state="running"), name="import_one_running_per_project"
            )
        ]

    def __str__(self) -> str:
        return self.file_name


class ItemQuerySet(models.QuerySet["Item"]):
    def visible(self) -> "ItemQuerySet":
        """Items whose import is complete, withdrawn ones included."""
        return self.filter(source__state=Import.State.COMPLETE)

    def in_pool(self) -> "ItemQuerySet":
        """Items that can be drawn, labeled and delivered: of a complete import, not withdrawn."""
        return self.visible().filter(withdrawn_at__isnull=True)

    def outside_pool(self) -> "ItemQuerySet":
        """All other items: withdrawn, or of an import that is not complete."""
        return self.exclude(source__state=Import.State.COMPLETE, withdrawn_at__isnull=True)


class Item(models.Model):
    """One thing to be labeled: a text, or a pair of texts. Withdrawing it sets a time stamp; the row stays."""

    # No index of its own: those of the constraints begin with the project.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="items", db_index=False)
    source = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="items")
    public_id = PublicIdField(unique=False)
    ordinal = models.PositiveBigIntegerField()  # the item's row in every array on disk
    modality = models.CharField(max_length=20, default="text")
    content_hash = models.CharField(max_length=64)
    external_id = models.CharField(max_length=200, null=True)
    replaces = models.OneToOneField("self", null=True, on_delete=models.PROTECT, related_name="replaced_by")
    prn = models.FloatField(db_column="u")  # permanent random number, from key and content (docs/loop.md)
    fold = models.PositiveSmallIntegerField()
    withdrawn_at = models.DateTimeField(null=True)

    objects = ItemQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="item_public_id_once"),
            models.UniqueConstraint(fields=["project", "content_hash"], name="item_content_once"),
            models.UniqueConstraint(
                fields=["project", "external_id"],
                condition=Q(withdrawn_at__isnull=True),
                name="item_external_id_once",
            ),
            models.UniqueConstraint(fields=["project", "ordinal"], name="item_ordinal_once"),
            models.CheckConstraint(condition=Q(prn__gte=0, prn__lt=1), name="item_u_in_unit_interval"),
        ]

    def __str__(self) -> str:
        return self.external_id or self.public_id


class ItemPayload(models.Model):
    """The content of an item, in a table of its own to keep Item's rows short. annotate/modalities interprets it."""

    item = models.OneToOneField(Item, on_delete=models.CASCADE, primary_key=True, related_name="content")
    payload = models.JSONField()
    metadata = models.JSONField(default=dict)

    def __str__(self) -> str:
        return str(self.item_id)


class RejectedRow(models.Model):
    """A line of an import that made no item, with the reason: it was unusable, a duplicate, or revived an item."""

    class Kind(models.TextChoices):
        REJECTED = "rejected"
        DUPLICATE = "duplicate"
        REVIVED = "revived"  # has the content of a withdrawn item, which it brought back; `excerpt` holds its public id

    source = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="rejected_rows")
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.REJECTED)
    line = models.PositiveBigIntegerField()
    reason = models.CharField(max_length=300)
    external_id = models.CharField(max_length=200, null=True)
    excerpt = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "line"], name="rejected_line_once")]

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"
