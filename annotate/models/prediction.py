"""Silver: machine labels of items, and the prompt versions under which machines were asked."""

import numpy as np
from django.db import models
from django.db.models import Q

from annotate.models.item import Item
from annotate.models.project import Project
from annotate.models.schema import GuidelineVersion, LabelSchema
from models_ml.arrays import Array


class PromptVersion(models.Model):
    """All that decides a machine's answers: model, labels, guidelines, parameters. Never changed once in use."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="prompts")
    version = models.PositiveIntegerField()
    annotator = models.CharField(max_length=40)
    model = models.CharField(max_length=200)
    schema = models.ForeignKey(LabelSchema, on_delete=models.PROTECT)
    guidelines = models.ForeignKey(GuidelineVersion, null=True, on_delete=models.PROTECT)
    parameters = models.JSONField(default=dict)
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "version"], name="prompt_version_once"),
            models.UniqueConstraint(fields=["project", "sha256"], name="prompt_content_once"),
        ]

    def __str__(self) -> str:
        return f"{self.annotator} v{self.version}"


class PredictionQuerySet(models.QuerySet["Prediction"]):
    def current(self) -> "PredictionQuerySet":
        """The newest attempt at each item under each prompt version: the one that counts."""
        return self.filter(is_current=True)

    def failed(self) -> "PredictionQuerySet":
        """Current answers that give no label."""
        return self.current().exclude(status=Prediction.Status.OK)


class Prediction(models.Model):
    """A machine's answer for an item under a prompt version, or its failure: one attempt at getting a label.

    A second run asks only what has no row. All failures of a prompt version can be asked again: each gets a row of the
    next attempt, which counts from then on; a label is never asked for again.
    """

    class Status(models.TextChoices):
        """`ok`, or the kind of failure."""

        OK = "ok"
        REFUSAL = "refusal"
        OUT_OF_SET = "out_of_set"
        TRUNCATED = "truncated"
        EMPTY = "empty"
        MALFORMED = "malformed"
        MISSING = "missing"
        TOO_LONG = "too_long"
        UNAVAILABLE = "unavailable"

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="predictions")
    prompt = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="predictions")
    status = models.CharField(max_length=20, choices=Status.choices)
    label_index = models.PositiveSmallIntegerField(null=True)
    probabilities = models.BinaryField(null=True)  # K float32, little-endian; NULL: confidence unknown
    label_mass = models.FloatField(null=True)  # probability of all label options that the server listed
    n_input_tokens = models.PositiveIntegerField(null=True)  # NULL: not counted
    n_output_tokens = models.PositiveIntegerField(null=True)
    cost_micros = models.PositiveBigIntegerField(default=0)
    latency_seconds = models.FloatField(null=True)
    message = models.CharField(max_length=300, blank=True)
    # An excerpt of the reply behind a failure, for those who manage the project: it may repeat the item, and hint at
    # a label. NULL: nothing was said, or the attempt gave a label.
    reply = models.CharField(max_length=500, null=True)
    attempt = models.PositiveSmallIntegerField(default=1)
    is_current = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PredictionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["prompt", "item", "attempt"], name="prediction_attempt_once"),
            models.UniqueConstraint(
                fields=["prompt", "item"], condition=Q(is_current=True), name="prediction_one_current"
            ),
            models.CheckConstraint(
                condition=Q(status="ok", label_index__isnull=False)
                | (~Q(status="ok") & Q(label_index__isnull=True, probabilities__isnull=True)),
                name="prediction_answers_or_fails",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.status}"

    def vector(self) -> Array | None:
        """(K,) the distribution over the labels, or None where the confidence is unknown."""
        return None if self.probabilities is None else np.frombuffer(self.probabilities, dtype="<f4")
