"""Leases: who may answer which question, and until when."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.draw import QueueEntry
from annotate.models.user import User


class Lease(models.Model):
    """The right of one person to answer one question for a while. An ended lease keeps its row with the outcome."""

    class Outcome(models.TextChoices):
        ANSWERED = "answered"
        SKIPPED = "skipped"
        EXPIRED = "expired"
        RELEASED = "released"
        TAKEN_OVER = "taken_over"  # sent ahead or hoarded, and somebody else would have had nothing to do

    public_id = PublicIdField()
    entry = models.ForeignKey(QueueEntry, on_delete=models.CASCADE, related_name="leases")
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="leases")
    granted_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    shown_at = models.DateTimeField(null=True)  # NULL: sent ahead, not on a screen yet
    revealed_at = models.DateTimeField(null=True)  # saw the machine's answer or why the item was drawn
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, choices=Outcome.choices, null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["entry", "annotator"], condition=Q(ended_at__isnull=True), name="lease_one_active"
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, outcome__isnull=True)
                | Q(ended_at__isnull=False, outcome__isnull=False),
                name="lease_ends_with_outcome",
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(ended_at__isnull=True), name="lease_expiring"),
            models.Index(fields=["annotator"], condition=Q(ended_at__isnull=True), name="lease_active_of"),
        ]

    def __str__(self) -> str:
        return f"{self.entry_id} held by {self.annotator_id}"
