"""What each version of a project's labels did to the one before it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from annotate.models import Event, LabelMapping, LabelSchema, Project


@dataclass(frozen=True)
class LabelVersion:
    """A version of the labels: what became of each label of the version before. `fates` is empty without a change."""

    schema: LabelSchema
    names: tuple[str, ...]
    fates: dict[str, tuple[str, ...]]  # by name in the version before: the names that it became; none: retired
    reads_as: dict[str, str]  # by name in the version before: the label that machine labels of it read as
    void: tuple[str, ...]  # names in the version before whose gold became void
    n_void: int = 0  # gold labels
    n_settled: int = 0  # disputes

    @cached_property
    def was(self) -> dict[str, list[str]]:
        """By name in this version: the names in the version before that became it. Empty lists: new labels."""
        return {name: [before for before, after in self.fates.items() if name in after] for name in self.names}

    @property
    def added(self) -> list[str]:
        """Labels that continue none of the version before."""
        return [name for name, before in self.was.items() if not before] if self.fates else []


def versions(project: Project) -> list[LabelVersion]:
    """All versions, newest first; four queries."""
    schemas = project.schemas.select_related("created_by", "project").prefetch_related("labels").order_by("-version")
    changes = _changes(project)
    mappings: dict[int, list[LabelMapping]] = {}
    for row in LabelMapping.objects.filter(source__schema__project=project).select_related("source", "target"):
        mappings.setdefault(row.source.schema_id, []).append(row)
    found = list(schemas)
    before = [one.pk for one in found[1:]] + [None]
    return [
        _version(one, changes.get(one.version, {}), mappings.get(previous or 0, []))
        for one, previous in zip(found, before, strict=True)
    ]


def _changes(project: Project) -> dict[int, dict[str, Any]]:
    """What the log says of each change, by version; of a number given again after a change was taken back, the last."""
    rows = Event.objects.filter(project=project, kind="labels.changed").order_by("pk")
    return {data["version"]: data for data in rows.values_list("data", flat=True)}


def _version(schema: LabelSchema, change: dict[str, Any], rows: list[LabelMapping]) -> LabelVersion:
    """`rows`: what became of the labels of the version before. All parts of a split label are in the log only."""
    names = tuple(label.name for label in schema.labels.all())
    if not rows:
        return LabelVersion(schema, names, {}, {}, ())
    rows = sorted(rows, key=lambda row: row.source.index)
    return LabelVersion(
        schema,
        names,
        fates={name: tuple(became) for name, *became in change["fates"]},
        reads_as={row.source.name: row.target.name for row in rows if row.target},
        void=tuple(row.source.name for row in rows if not row.keeps_gold),
        n_void=change["n_void"],
        n_settled=change["n_settled"],
    )
