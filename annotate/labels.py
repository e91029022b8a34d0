"""How labels of earlier versions read under a later one: the one place where versions of a project's labels meet.

Rows are never rewritten: gold, answers and machine labels keep the version that they were given under, and whoever
computes with them reads them through these maps (docs/labels.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from django.db.models import QuerySet

from annotate.models import Label, LabelMapping, LabelSchema, Project
from models_ml.arrays import Bools, Ints
from models_ml.label_map import NO_LABEL, LabelMap


@dataclass(frozen=True, eq=False)
class LabelHistory:
    """The labels of one version of the schema, and how those of each version before it read there."""

    schema: LabelSchema
    maps: dict[int, LabelMap]  # by the primary key of a version
    versions: dict[int, list[Label]]  # by the primary key of a version, in the order of their columns
    void_since: dict[int, int]  # by primary key of a label whose gold is void here: the version that made it so
    _places: dict[int, tuple[int, int]]  # (primary key of the version, index) by primary key of a label

    @property
    def labels(self) -> list[Label]:
        """Of `schema`, in the order of their columns."""
        return self.versions[self.schema.pk]

    @property
    def n_classes(self) -> int:
        """K, the number of labels of `schema`."""
        return len(self.labels)

    @property
    def label_ids(self) -> list[int]:
        """Primary keys of all labels of all versions up to this one."""
        return list(self._places)

    def map_from(self, schema_id: int) -> LabelMap:
        """How labels of the version with this primary key read; KeyError for a later version or another project's."""
        return self.maps[schema_id]

    def gold_index(self, label_id: int) -> int:
        """The index that a person's label reads as here; NO_LABEL where a change of labels made it void."""
        schema_id, index = self._places[label_id]
        change = self.maps[schema_id]
        return int(change.target[index]) if change.keeps_gold[index] else NO_LABEL

    @property
    def void_ids(self) -> list[int]:
        """Primary keys of the labels whose gold is void here."""
        return [label for label in self._places if self.gold_index(label) == NO_LABEL]

    @property
    def is_first(self) -> bool:
        """Whether there was no other version before: every row reads as it is."""
        return len(self.maps) == 1

    def gold_label(self, label_id: int | None) -> Label | None:
        """The label that a person's label reads as here; None where there was none or it is void."""
        index = NO_LABEL if label_id is None else self.gold_index(label_id)
        return None if index == NO_LABEL else self.labels[index]


class Reading:
    """Reads single labels of people under the version in force, whose primary key is `schema_id`.

    The history is loaded only when a label of another version turns up: most projects have one version.
    """

    def __init__(self, schema_id: int) -> None:
        self.schema_id = schema_id

    def label_id(self, label: int | None, schema: int | None) -> int | None:
        """The id of the label in force that `label`, of the version `schema`, reads as; None: no label, or void."""
        if label is None or schema == self.schema_id:
            return label
        now = self.history.gold_label(label)
        return now.pk if now else None

    @cached_property
    def history(self) -> LabelHistory:
        return history(LabelSchema.objects.get(pk=self.schema_id))


def current(project: Project) -> LabelHistory:
    """The labels in force, and the maps of all versions before them. One query, two once labels were changed."""
    rows = list(_labels_of(project.pk).select_related("schema"))
    schema = rows[0].schema
    schema.project = project
    return _history(schema, rows)


def history(schema: LabelSchema) -> LabelHistory:
    """The labels of `schema`, and the maps of all versions of its project up to it; queries as `current`."""
    return _history(schema, _labels_of(schema.project_id).filter(schema__version__lte=schema.version))


def _labels_of(project: int) -> QuerySet[Label]:
    """The labels of all versions of the project's schema, newest version first."""
    return Label.objects.filter(schema__project=project).order_by("-schema__version", "index")


def _history(schema: LabelSchema, rows: Iterable[Label]) -> LabelHistory:
    versions: dict[int, list[Label]] = {schema.pk: []}
    for label in rows:
        versions.setdefault(label.schema_id, []).append(label)
    places = {label.pk: (label.schema_id, label.index) for labels in versions.values() for label in labels}
    earlier = [version for version in versions if version != schema.pk]
    stored = LabelMapping.objects.filter(source__schema__in=earlier) if earlier else ()
    mappings = {row.source_id: row for row in stored}
    return LabelHistory(schema, _maps(versions, mappings, places), versions, _void_since(versions, mappings), places)


def _void_since(versions: dict[int, list[Label]], mappings: dict[int, LabelMapping]) -> dict[int, int]:
    """By each label whose gold is void in the newest version: the version that made it so; versions newest first."""
    following, *earlier = versions
    since: dict[int, int] = {}
    for version in earlier:
        for label in versions[version]:
            row = mappings.get(label.pk)
            made_void = following if row is None or not row.keeps_gold else since.get(row.target_id or 0)
            if made_void is not None:
                since[label.pk] = made_void
        following = version
    return since


def _maps(
    versions: dict[int, list[Label]], mappings: dict[int, LabelMapping], places: dict[int, tuple[int, int]]
) -> dict[int, LabelMap]:
    """The map of each version to the newest, of labels by version, newest first."""
    newest, *earlier = versions
    maps = {newest: LabelMap.identity(len(versions[newest]))}
    following = newest
    for version in earlier:
        step = _step([mappings.get(label.pk) for label in versions[version]], places, len(versions[following]))
        maps[version] = step.then(maps[following])
        following = version
    return maps


def _step(rows: list[LabelMapping | None], places: dict[int, tuple[int, int]], n_classes: int) -> LabelMap:
    """From one version to the next. A version replaced before anything was labeled has no rows: nothing reads on."""
    target: Ints = np.array([places[row.target_id][1] if row and row.target_id else NO_LABEL for row in rows])
    keeps_gold: Bools = np.array([row is not None and row.keeps_gold for row in rows])
    keeps_probability: Bools = np.array([row is not None and row.keeps_probability for row in rows])
    return LabelMap(target, keeps_gold, keeps_probability, n_classes)
