"""Budgets with hard caps, and the ledger: one entry per reservation, which ends once."""

from django.db import models
from django.db.models import F, Q

from annotate.models.base import PublicIdField
from annotate.models.item import Item
from annotate.models.lease import Lease
from annotate.models.prediction import PromptVersion
from annotate.models.project import Project
from annotate.models.run import Run


class Budget(models.Model):
    """A project's money for machines, or for people. At every commit the three sums equal a recount of the ledger."""

    class Kind(models.TextChoices):
        MACHINE = "machine"
        HUMAN = "human"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="budgets")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    # NULL: no cap is set. Then machines that cost money are not asked; people are, and the ledger records their cost.
    cap_micros = models.PositiveBigIntegerField(null=True)
    reserved_micros = models.PositiveBigIntegerField(default=0)
    settled_micros = models.PositiveBigIntegerField(default=0)
    written_off_micros = models.PositiveBigIntegerField(default=0)
    is_stopped = models.BooleanField(default=False)  # the kill switch: nothing more is reserved

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "kind"], name="budget_once"),
            models.CheckConstraint(
                condition=Q(cap_micros__isnull=True)
                | Q(cap_micros__gte=F("reserved_micros") + F("settled_micros") + F("written_off_micros")),
                name="budget_within_cap",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} money of {self.project}"

    @property
    def spent_micros(self) -> int:
        """Settled and written off; reservations left out."""
        return self.settled_micros + self.written_off_micros

    @property
    def left_micros(self) -> int | None:
        """What can still be reserved; None without a cap."""
        return None if self.cap_micros is None else self.cap_micros - self.spent_micros - self.reserved_micros


class LedgerEntry(models.Model):
    """One reservation of money, committed before the request is sent or with the lease; it ends exactly once."""

    class State(models.TextChoices):
        RESERVED = "reserved"
        SETTLED = "settled"  # the cost is known and charged
        RELEASED = "released"  # the attempt provably cost nothing
        WRITTEN_OFF = "written_off"  # the cost is unknown: the whole reservation is charged

    public_id = PublicIdField()
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="entries")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="ledger")
    run_attempt = models.PositiveIntegerField(null=True)
    prompt = models.ForeignKey(PromptVersion, null=True, on_delete=models.PROTECT, related_name="ledger")
    item = models.ForeignKey(Item, null=True, on_delete=models.CASCADE, related_name="ledger")
    lease = models.ForeignKey(Lease, null=True, on_delete=models.CASCADE, related_name="ledger")
    reserved_micros = models.PositiveBigIntegerField()
    final_micros = models.PositiveBigIntegerField(null=True)  # NULL while reserved; 0 when released
    n_input_tokens = models.PositiveIntegerField(null=True)
    n_output_tokens = models.PositiveIntegerField(null=True)
    state = models.CharField(max_length=20, choices=State.choices, default=State.RESERVED)
    reason = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="reserved", ended_at__isnull=True, final_micros__isnull=True)
                | (~Q(state="reserved") & Q(ended_at__isnull=False, final_micros__isnull=False)),
                name="ledger_ends_once",
            ),
            models.CheckConstraint(
                condition=Q(final_micros__isnull=True) | Q(final_micros__lte=F("reserved_micros")),
                name="ledger_within_reservation",
            ),
            models.UniqueConstraint(fields=["lease"], condition=Q(lease__isnull=False), name="ledger_once_per_lease"),
        ]
        indexes = [
            models.Index(fields=["budget", "-id"], name="ledger_newest"),
            models.Index(fields=["run"], condition=Q(state="reserved"), name="ledger_reserved_by_run"),
        ]

    def __str__(self) -> str:
        return f"{self.state} {self.reserved_micros}"
