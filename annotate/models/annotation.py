"""Answers of people and drafts of answers. Each person has one current answer (or skip) per item."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.draw import QueueEntry
from annotate.models.item import Item
from annotate.models.project import Project, SuggestionPolicy
from annotate.models.schema import GuidelineVersion, Label
from annotate.models.user import User


class SkipReason(models.TextChoices):
    """Why a person skipped a question instead of choosing a label."""

    UNCLEAR = "unclear"
    BAD_DATA = "bad_data"
    NOT_MY_AREA = "not_my_area"
    TECHNICAL = "technical"


class Annotation(models.Model):
    """An answer (`label`) or a skip (`skip_reason`). A changed answer is a new row with the next revision number."""

    public_id = PublicIdField()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="annotations")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="annotations")
    entry = models.ForeignKey(QueueEntry, null=True, on_delete=models.PROTECT, related_name="annotations")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="annotations")
    label = models.ForeignKey(Label, null=True, on_delete=models.PROTECT)
    skip_reason = models.CharField(max_length=20, choices=SkipReason.choices, null=True)
    guidelines = models.ForeignKey(GuidelineVersion, null=True, on_delete=models.PROTECT)
    revision = models.PositiveIntegerField()
    is_current = models.BooleanField(default=True)
    is_counted = models.BooleanField(default=True)  # for gold; False: came after its lease was lost
    is_blind = models.BooleanField()  # given without the machine's answer in sight
    # The person had got a file or a list with the machine's label of the item before, see Download.
    had_file = models.BooleanField(default=False)
    suggestion = models.CharField(  # the question's policy when the answer was given
        max_length=20, choices=SuggestionPolicy.choices, default=SuggestionPolicy.HIDDEN
    )
    is_flagged = models.BooleanField(default=False)
    comment = models.TextField(blank=True, default="")
    seconds = models.FloatField(null=True)
    price_micros = models.PositiveBigIntegerField(default=0)
    idempotency_key = models.CharField(max_length=100, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["item", "annotator"], condition=Q(is_current=True), name="annotation_one_current"
            ),
            models.UniqueConstraint(fields=["item", "annotator", "revision"], name="annotation_revision_once"),
            models.CheckConstraint(
                condition=Q(label__isnull=False, skip_reason__isnull=True)
                | Q(label__isnull=True, skip_reason__isnull=False),
                name="annotation_answers_or_skips",
            ),
            models.CheckConstraint(
                condition=Q(seconds__isnull=True) | Q(seconds__gte=0), name="annotation_seconds_positive"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "created_at"], name="annotation_by_time"),
            models.Index(fields=["annotator", "project", "created_at"], name="annotation_by_person"),
        ]

    def __str__(self) -> str:
        return f"{self.item_id} by {self.annotator_id}: {self.label_id or self.skip_reason}"


class Draft(models.Model):
    """An answer that a person has begun to give to a question; it outlives lease, reload and device."""

    entry = models.ForeignKey(QueueEntry, on_delete=models.CASCADE, related_name="drafts")
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="drafts")
    label = models.ForeignKey(Label, null=True, on_delete=models.CASCADE)
    is_flagged = models.BooleanField(default=False)
    comment = models.TextField(blank=True, default="")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entry", "annotator"], name="draft_once")]

    def __str__(self) -> str:
        return f"{self.entry_id} by {self.annotator_id}"
