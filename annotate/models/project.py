"""Projects with their rules, and their members. Only members of a project have access to its data."""

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce

from annotate.models.base import PublicIdField
from annotate.models.user import User


class Arm(models.TextChoices):
    """Why an item was drawn (docs/loop.md, "Arms")."""

    START = "start"
    ACTIVE = "active"
    RANDOM = "random"  # the reference sample
    AUDIT = "audit"
    GOLD_CHECK = "gold_check"
    CONFLICT = "conflict"
    IMPORTED = "imported"
    REQUEST = "request"


# Arms whose items never show a machine's answer, whatever the project's policy says.
ALWAYS_BLIND = frozenset({Arm.AUDIT, Arm.RANDOM, Arm.GOLD_CHECK, Arm.REQUEST})
# Arms that nothing draws yet: neither pages nor the description of the API name them.
NEVER_DRAWN = frozenset({Arm.GOLD_CHECK})


class GoldRule(models.TextChoices):
    """When the answers to a question become gold (docs/loop.md, "Gold")."""

    ONE_TRUSTED = "one_trusted"
    AGREE_K = "agree_k"


class Strategy(models.TextChoices):
    """How items are scored for the arm `active` (models_ml/acquisition/scores.py)."""

    MARGIN = "margin"
    ENTROPY = "entropy"
    LEAST_CONFIDENCE = "least_confidence"
    RANDOM = "random"


class SuggestionPolicy(models.TextChoices):
    """What a question shows of the machine's answer to the person who is asked."""

    HIDDEN = "hidden"
    REVEALED = "revealed"  # after the person's own answer
    SHOWN = "shown"


def hidden_suggestions() -> dict[str, str]:
    """The default policy by arm, hidden for all: a suggestion can be shown later, its influence cannot be undone."""
    return dict.fromkeys((Arm.START.value, Arm.ACTIVE.value, Arm.CONFLICT.value), SuggestionPolicy.HIDDEN.value)


class Project(models.Model):
    """A set of items to be labeled, with its own labels, rules, members and budgets."""

    public_id = PublicIdField()
    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=150)
    modality = models.CharField(max_length=20, default="text")
    is_simulated = models.BooleanField(default=False)  # every answer comes from a file; pages say so

    # Randomness: the key stays secret; its SHA-256, the commitment, is shown from the start.
    key = models.BinaryField(max_length=32)
    key_commitment = models.CharField(max_length=64)
    seed = models.BigIntegerField()
    n_folds = models.PositiveSmallIntegerField(default=5)
    # The audit sample is prn <= audit_cutoff, which only moves up; the reference sample prn >= reference_cutoff,
    # which only moves down.
    audit_cutoff = models.FloatField(null=True, blank=True, db_column="audit_mark")
    reference_cutoff = models.FloatField(null=True, blank=True, db_column="reference_mark")
    next_ordinal = models.PositiveBigIntegerField(default=0)
    # Grows with each import and withdrawal; NULL: there was none yet. Part of a delivered version's fingerprint.
    pool_revision = models.BigIntegerField(null=True, blank=True)

    # Rules
    overlap = models.PositiveSmallIntegerField(default=1)
    gold_rule = models.CharField(max_length=20, choices=GoldRule.choices, default=GoldRule.ONE_TRUSTED)
    agree_k = models.PositiveSmallIntegerField(default=2)
    suggestion_policy = models.JSONField(default=hidden_suggestions)
    strategy = models.CharField(max_length=20, choices=Strategy.choices, default=Strategy.MARGIN)
    audit_share = models.FloatField(null=True, blank=True)  # NULL: docs/loop.md, "Drawing a round"
    audit_target = models.PositiveIntegerField(default=200)
    reference_target = models.PositiveIntegerField(default=150)
    target_accuracy = models.FloatField(null=True, blank=True)
    annotator = models.CharField(max_length=40, default="offline")
    connection = models.ForeignKey(
        "annotate.Connection", null=True, blank=True, on_delete=models.PROTECT, related_name="used_by"
    )  # to the annotator model's server; NULL: the model runs in this process
    encoder = models.CharField(max_length=40, default="minilm")

    # Money: in one currency, as integers of its millionths
    currency = models.CharField(max_length=3, default="USD")
    human_price_micros = models.PositiveBigIntegerField(default=0)  # paid per answer

    time_zone = models.CharField(max_length=64, default="UTC")
    # False: the project is older than the chain of seals, whose first seal then vouches for nothing (docs/seals.md).
    is_sealed_from_start = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(target_accuracy__isnull=True) | Q(target_accuracy__gt=0, target_accuracy__lt=1),
                name="project_target_is_a_share",
                violation_error_message="The target accuracy lies between 0 and 1, for instance 0.95.",
            ),
            models.CheckConstraint(
                condition=Q(overlap__gte=1),
                name="project_overlap_positive",
                violation_error_message="At least one person answers each question (overlap).",
            ),
            models.CheckConstraint(
                condition=Q(agree_k__gte=1),
                name="project_agree_k_positive",
                violation_error_message="At least one person must agree (agree-k).",
            ),
            models.CheckConstraint(
                condition=Q(gold_rule=GoldRule.ONE_TRUSTED) | Q(overlap__gte=models.F("agree_k")),
                name="project_agree_k_within_overlap",
                violation_error_message="The overlap must be at least as many people as have to agree.",
            ),
            models.CheckConstraint(
                condition=Q(audit_share__isnull=True) | Q(audit_share__gte=0, audit_share__lte=1),
                name="project_audit_share_is_a_share",
                violation_error_message="The audit share lies between 0 and 1.",
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    def note_pool_change(self) -> None:
        """Count an import or withdrawal, so that a new version is delivered even if the pool's size is as before."""
        revision = Coalesce(F("pool_revision"), Value(0)) + 1
        Project.objects.filter(pk=self.pk).update(pool_revision=revision)

    def suggestion_for(self, arms: set[str]) -> str:
        """The strictest suggestion policy of these arms; hidden if one of them is always blind."""
        policies = {self.suggestion_policy.get(arm, SuggestionPolicy.HIDDEN.value) for arm in arms}
        if arms & ALWAYS_BLIND or SuggestionPolicy.HIDDEN in policies:
            return SuggestionPolicy.HIDDEN
        return SuggestionPolicy.REVEALED if SuggestionPolicy.REVEALED in policies else SuggestionPolicy.SHOWN

    def is_blind(self, arms: set[str]) -> bool:
        """Whether an item that these arms drew is asked without the machine's answer in sight."""
        return self.suggestion_for(arms) != SuggestionPolicy.SHOWN


class Role(models.TextChoices):
    """A member's role; `access.MAY` says what each may do. In the order in which pages list members."""

    OWNER = "owner"
    ADMIN = "admin"
    REVIEWER = "reviewer"
    ANNOTATOR = "annotator"
    VIEWER = "viewer"


class Member(models.Model):
    """A user's membership of a project. A trusted member's answer alone may make gold; owners are trusted."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices)
    is_trusted = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    schema_version: int  # of the labels in force; only where `access.member_of` loaded the row

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="member_once"),
            models.CheckConstraint(condition=~Q(role=Role.OWNER) | Q(is_trusted=True), name="member_owner_is_trusted"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}: {self.role}"
