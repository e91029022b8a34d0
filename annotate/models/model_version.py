"""Model versions, the delivered versions made with them, and estimates of their accuracy."""

from django.db import models
from django.db.models import Q

from annotate.models.base import PublicIdField
from annotate.models.draw import Round
from annotate.models.prediction import PromptVersion
from annotate.models.project import Project
from annotate.models.run import Run
from annotate.models.schema import Label, LabelSchema


class ModelVersion(models.Model):
    """A trained classifier, which can be made again from its snapshot, config and seed."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="model_versions")
    public_id = PublicIdField()
    version = models.PositiveIntegerField()
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="model_versions")  # trained it
    schema = models.ForeignKey(LabelSchema, on_delete=models.PROTECT)
    prompt = models.ForeignKey(PromptVersion, null=True, on_delete=models.PROTECT)
    encoder = models.CharField(max_length=200)
    config = models.JSONField()
    seed = models.BigIntegerField()
    snapshot_file = models.CharField(max_length=200)
    snapshot_sha256 = models.CharField(max_length=64)
    artefact_file = models.CharField(max_length=200)
    artefact_sha256 = models.CharField(max_length=64)
    metrics = models.JSONField()
    is_champion = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "version"], name="model_version_once"),
            models.UniqueConstraint(fields=["project"], condition=Q(is_champion=True), name="model_one_champion"),
        ]

    def __str__(self) -> str:
        return f"model v{self.version}"


class DeliveredVersion(models.Model):
    """The machine labels of all items, frozen with what decided them: model, prompt, Ĉ, rule, pool and A."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="delivered_versions")
    public_id = PublicIdField()
    version = models.PositiveIntegerField()
    schema = models.ForeignKey(LabelSchema, on_delete=models.PROTECT)
    model = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT)
    prompt = models.ForeignKey(PromptVersion, null=True, on_delete=models.PROTECT)
    rule = models.CharField(max_length=20, db_column="chooser")  # RULES in models_ml/label_combination.py
    delivery = models.JSONField()  # the rule's parameters, Ĉ with its counts, the cross-validation table, the stack
    last_ordinal = models.BigIntegerField()
    n_pool = models.PositiveBigIntegerField()
    n_in_a = models.PositiveBigIntegerField()
    file = models.CharField(max_length=200)  # arrays by ordinal: machine label, probability, A, …
    file_sha256 = models.CharField(max_length=64)
    fingerprint = models.CharField(max_length=64)
    # The head of the project's seals when this was frozen (docs/seals.md); "" where the version is older than seals.
    sealed_head = models.CharField(max_length=64, default="", blank=True)
    sealed_sequence = models.PositiveBigIntegerField(null=True, blank=True)
    frozen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "version"], name="delivered_version_once"),
            models.UniqueConstraint(fields=["project", "fingerprint"], name="delivered_fingerprint_once"),
        ]

    def __str__(self) -> str:
        return f"delivered v{self.version}"


class Estimate(models.Model):
    """One figure about one delivered version, with its interval or the reason why there is none."""

    class Estimand(models.TextChoices):
        """What a figure is about (docs/loop.md, "Estimates")."""

        LLM = "llm"
        MODEL = "model"
        MODEL_NEW_DATA = "model_new_data"
        DELIVERED = "delivered"
        PRECISION = "precision"
        RECALL = "recall"
        LOOK = "look"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="estimates")
    delivered_version = models.ForeignKey(DeliveredVersion, on_delete=models.CASCADE, related_name="estimates")
    round = models.ForeignKey(Round, null=True, on_delete=models.PROTECT)  # the last closed round
    estimand = models.CharField(max_length=20, choices=Estimand.choices)
    label = models.ForeignKey(Label, null=True, on_delete=models.PROTECT)
    value = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    n = models.PositiveBigIntegerField()
    n_unresolved = models.PositiveBigIntegerField()
    # Of the resolved ones, those answered by somebody who had the machine's label in a file; NULL: was not counted.
    n_had_file = models.PositiveBigIntegerField(null=True)
    population = models.PositiveBigIntegerField(null=True)  # number of items; NULL: future items
    method = models.CharField(max_length=60)
    reason = models.CharField(max_length=200, null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["delivered_version", "estimand"],
                condition=Q(label__isnull=True),
                name="estimate_once",
            ),
            models.UniqueConstraint(fields=["delivered_version", "estimand", "label"], name="estimate_once_per_label"),
            models.CheckConstraint(
                condition=Q(value__isnull=False) | Q(reason__isnull=False),
                name="estimate_has_value_or_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.estimand}: {self.value}"

    @property
    def n_answered(self) -> int:
        """How many audited items have an answer that the figure rests on."""
        return self.n - self.n_unresolved

    @property
    def share_had_file(self) -> float | None:
        """The share of these answers that people gave who had the machine's labels in a file; None: not known."""
        return self.n_had_file / self.n_answered if self.n_had_file is not None and self.n_answered else None


class EstimateInputs(models.Model):
    """What the figures about one delivered version were computed from, so that `verify` can compute them again.

    Figures of earlier versions of this program have none.
    """

    delivered_version = models.OneToOneField(DeliveredVersion, on_delete=models.CASCADE, related_name="estimate_inputs")
    # The audit sample as arrays and its sizes, in safetensors (annotate/learning/audit.py).
    content = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"inputs of {self.delivered_version_id}"
