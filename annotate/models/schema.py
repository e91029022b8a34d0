"""Label schemas and guidelines. A change makes a new version; rows of an older one keep the version they have."""

from django.db import models
from django.db.models import Q

from annotate.markdown import render
from annotate.models.base import make_public_id
from annotate.models.project import Project
from annotate.models.user import User

N_COLOURS = 12


class LabelSchema(models.Model):
    """A version of a project's labels."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="schemas")
    version = models.PositiveIntegerField()
    # How far each sample's gold is complete under these labels: audited items with prn <= audit_cutoff, reference
    # items with prn >= reference_cutoff. NULL: the whole sample, because no change of labels made gold of it void.
    audit_cutoff = models.FloatField(null=True)
    reference_cutoff = models.FloatField(null=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="schema_version_once")]

    def __str__(self) -> str:
        return f"{self.project} labels v{self.version}"


class Label(models.Model):
    """One label of a schema: a class, with the definition and examples that people and machines read."""

    schema = models.ForeignKey(LabelSchema, on_delete=models.CASCADE, related_name="labels")
    # The same from version to version, while the label keeps its meaning or is merged into another.
    lasting_id = models.CharField(max_length=20, default=make_public_id)
    index = models.PositiveSmallIntegerField()  # the column in every K-vector
    name = models.CharField(max_length=100)
    key = models.CharField(max_length=1, null=True)  # of the keyboard; NULL after the tenth label
    colour = models.PositiveSmallIntegerField()  # palette class 1-12
    definition = models.TextField(blank=True)
    examples = models.JSONField(default=list)

    class Meta:
        ordering = ["index"]
        constraints = [
            models.UniqueConstraint(fields=["schema", "index"], name="label_index_once"),
            models.UniqueConstraint(fields=["schema", "name"], name="label_name_once"),
            models.UniqueConstraint(fields=["schema", "key"], name="label_key_once"),
            models.CheckConstraint(condition=Q(colour__gte=1, colour__lte=N_COLOURS), name="label_colour_in_palette"),
        ]

    def __str__(self) -> str:
        return self.name


class LabelMapping(models.Model):
    """What became of a label in the next version of its project's labels (docs/labels.md)."""

    source = models.OneToOneField(Label, on_delete=models.CASCADE, related_name="mapping")
    # What machines' labels read as, and people's where `keeps_gold`; NULL: the label was retired.
    target = models.ForeignKey(Label, null=True, on_delete=models.CASCADE, related_name="sources")
    keeps_gold = models.BooleanField()  # False: people's labels are void, and asked again
    keeps_probability = models.BooleanField()  # False: a machine's distribution is unknown where it said this label

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(target__isnull=False) | Q(keeps_gold=False, keeps_probability=False),
                name="label_mapping_keeps_only_with_target",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source_id} -> {self.target_id}"


class GuidelineVersion(models.Model):
    """A version of a project's guidelines: how to decide between the labels, in Markdown."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guidelines")
    version = models.PositiveIntegerField()
    markdown = models.TextField()
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="guideline_version_once")]

    def __str__(self) -> str:
        return f"{self.project} guidelines v{self.version}"

    def html(self) -> str:
        """The guidelines as HTML that is safe to put on a page: rendered once in each process."""
        return render(self.markdown)
