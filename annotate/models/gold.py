"""Gold labels and reviewers' decisions. A newer row takes the older one's place; no label is ever edited."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.draw import QueueEntry, Round
from annotate.models.item import Item
from annotate.models.project import Arm, Project
from annotate.models.schema import Label
from annotate.models.user import User


class GoldQuerySet(models.QuerySet["Gold"]):
    def current(self) -> "GoldQuerySet":
        """Gold whose place no newer row has taken."""
        return self.filter(is_current=True)

    def trainable(self) -> "GoldQuerySet":
        """Current gold that may train, calibrate and choose: all but that of origin `audit`."""
        return self.current().exclude(origin=Arm.AUDIT)


class Gold(models.Model):
    """A gold label of an item. An item may have two current ones: one of origin `audit`, and one that may train."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="gold")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="gold")
    label = models.ForeignKey(Label, on_delete=models.PROTECT)
    rule = models.CharField(max_length=20)  # the project's gold rule, 'imported' or 'adjudicated'
    origin = models.CharField(max_length=20, choices=Arm.choices)  # the arm that first obtained it
    is_blind = models.BooleanField()
    round = models.ForeignKey(Round, null=True, on_delete=models.PROTECT, related_name="gold")
    is_current = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = GoldQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["item"], condition=Q(is_current=True, origin=Arm.AUDIT), name="gold_one_audit"
            ),
            models.UniqueConstraint(
                fields=["item"],
                condition=Q(is_current=True) & ~Q(origin=Arm.AUDIT),
                name="gold_one_trainable",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.label_id} ({self.origin})"


class Adjudication(models.Model):
    """A reviewer's decision of a disputed question. A changed decision is a new row."""

    public_id = PublicIdField()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="adjudications")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="adjudications")
    entry = models.ForeignKey(QueueEntry, on_delete=models.PROTECT, related_name="adjudications")
    label = models.ForeignKey(Label, null=True, on_delete=models.PROTECT)  # NULL: cannot be decided
    reason = models.TextField()
    is_blind = models.BooleanField()  # the reviewer had not seen the machine's answer
    had_file = models.BooleanField(default=False)  # as of an Annotation
    is_current = models.BooleanField(default=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["entry"], condition=Q(is_current=True), name="adjudication_one_current")
        ]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.label_id}"
