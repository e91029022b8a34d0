"""Decides what the preview of an upload shows: what an import would make of it. No row of the file is stored."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

import orjson
from django.conf import settings
from django.utils.translation import ngettext

from annotate import access, turns
from annotate.errors import InvalidInput
from annotate.formats import own_export
from annotate.formats.beginnings import Clock
from annotate.formats.columns import Chosen, check, unnamed_labels
from annotate.formats.dialect import Dialect
from annotate.imports import confidence, file_preview, label_columns
from annotate.imports.file_preview import Column, FilePreview
from annotate.imports.label_columns import LabelColumn, LabelSeen, shown, warning
from annotate.imports.rows import Admitted, Kind, ParsedRow, Rules, decide, read
from annotate.imports.uploads import opened
from annotate.imports.writer import checked, rules_of, what_is_there
from annotate.label_names import matcher
from annotate.modalities import modality
from annotate.models import Project, RejectedRow, Upload, User
from models_ml.label_matching import is_empty

N_SHOWN = 20  # new items

_T = TypeVar("_T")


@dataclass(frozen=True)
class PreviewRow:
    """A row of the file as the item that it would become."""

    line: int
    external_id: str | None
    payload: dict[str, str]
    metadata: dict[str, Any]
    gold: str | None
    silver: str | None  # a label's name, else why there is none; None if no column holds silver


@dataclass(frozen=True)
class Preview:
    """What an import would make of a file."""

    dialect: Dialect
    is_sure: bool  # False: the encoding is a guess
    notes: tuple[str, ...]
    columns: tuple[Column, ...]
    mapping: dict[str, str | None]  # column by role, as import_upload takes it
    n_rows: int  # about, where only the beginning was read
    n_bytes: int  # unpacked; about, where only the beginning was read
    n_checked: int  # how many rows, from the first on, the figures below count
    is_whole: bool = True  # False: only the first `n_bytes_read` bytes were read
    n_bytes_read: int = 0  # unpacked
    label_columns: tuple[LabelColumn, ...] = ()  # columns that may hold labels
    doubts: tuple[str, ...] = ()  # sentences about rows that may have been misread
    unnamed: tuple[str, ...] = ()  # columns that by their names hold labels, and that become metadata
    problem: str = ""  # why the file cannot be imported like this; the figures below are then missing
    n_new: int = 0
    n_duplicates: int = 0  # rows with the content of an earlier row, or of an item of the project
    n_revived: int = 0  # rows that would bring back a withdrawn item
    n_rejected: int = 0
    rows: tuple[PreviewRow, ...] = ()
    rejected: tuple[RejectedRow, ...] = ()  # not stored; line, reason, external_id and excerpt are set
    labels: dict[str, tuple[LabelSeen, ...]] = field(default_factory=dict)  # most frequent names, by gold and silver
    confidences: tuple[str, ...] = ()  # sentences about how a machine's confidences are read
    mean_characters: float = 0.0  # of the content of new items

    @property
    def bound(self) -> str:
        """From how many lines all this is, where it is not from all of them; empty where it is."""
        if self.is_whole and self.n_checked == self.n_rows:
            return ""
        sentence = ngettext(
            "All this is from the first row: more is not read while you wait.",
            "All this is from the first %(n)s rows: more is not read while you wait.",
            self.n_checked,
        )
        return sentence % {"n": f"{self.n_checked:,}"}

    @property
    def warnings(self) -> list[str]:
        """Sentences about what an import would take otherwise than may be meant."""
        return [*self.doubts, *warning(self.unnamed)]

    @property
    def n_expected(self) -> int:
        """How many new items the whole file would give if its other rows are like those checked."""
        return round(self.n_rows * self.n_new / self.n_checked) if self.n_checked else 0


def of_upload(
    *,
    upload: Upload,
    by: User,
    dialect: Mapping[str, Any] | None = None,
    columns: Chosen | None = None,
    ask: Collection[str] = (),
) -> Preview:
    """What an import would make of this upload: what its beginning tells (file_preview.py), for this project.

    `dialect`: settings that a person chose instead of the detected ones. `columns`: column by role, instead of the
    proposal, in which no column holds labels. `ask`: further columns that may hold labels. InvalidInput if the file is
    neither a table nor JSON, or cannot be read like this at all; Busy while too many previews are being made.
    """
    access.require(by, upload.project, to="manage")
    project = upload.project
    with turns.HEAVY.taken(by.pk), opened(upload) as file:
        return _of_file(project, file, upload.file_name, dialect, columns, ask)


def _of_file(
    project: Project,
    file: BinaryIO,
    name: str,
    dialect: Mapping[str, Any] | None,
    columns: Chosen | None,
    ask: Collection[str],
) -> Preview:
    fields, limit = modality(project.modality).FIELDS, settings.IMPORT_MAX_BYTES
    found = file_preview.of_file(file, name, fields=fields, dialect=dialect, columns=columns, limit=limit)
    outcome = _judged(project, found)
    return Preview(
        dialect=found.dialect,
        is_sure=found.is_sure,
        notes=found.notes,
        columns=found.columns,
        mapping=found.mapping,
        n_rows=found.n_rows,
        n_bytes=found.n_bytes,
        is_whole=found.is_whole,
        n_bytes_read=found.n_bytes_read,
        label_columns=_label_columns(project, found, ask),
        doubts=found.doubts,
        **{"n_checked": len(found.rows), **outcome},
    )


def _judged(project: Project, found: FilePreview) -> dict[str, Any]:
    """Fields of Preview: what the first rows would become, or the problem why none can be read like this."""
    try:
        if problem := found.why_unreadable():
            raise InvalidInput(problem)
        rules = _rules(project, found)
    except InvalidInput as error:
        return {"problem": str(error)}
    unnamed = tuple(unnamed_labels(found.names, rules.fields, rules.modality.FIELDS))
    return {"unnamed": unnamed, **_outcome(project, rules, found)}


def _label_columns(project: Project, found: FilePreview, more: Collection[str]) -> tuple[LabelColumn, ...]:
    schema = project.schemas.order_by("-version").first()
    labels = matcher(schema.labels.all() if schema else ())
    rows = _while(found.parsed, found.clock)
    return label_columns.find(rows, found.names, found.mapping, labels, more, is_typed=found.reader.is_typed)


def _while(rows: Iterable[_T], clock: Clock) -> Iterator[_T]:
    """The rows until the time is over, the first one in any case."""
    for n, row in enumerate(rows):
        if n and clock.is_over:
            return
        yield row


def _rules(project: Project, found: FilePreview) -> Rules:
    fields = checked(found.mapping, project)
    check(fields, modality(project.modality).FIELDS, found.names)
    own_export.check(fields, found.dialect)
    return rules_of(project, project.schemas.order_by("-version").first(), fields, found.reader)


def _outcome(project: Project, rules: Rules, found: FilePreview) -> dict[str, Any]:
    """What the first rows would become, as fields of Preview."""
    rules = confidence.scaled(rules, (row.line for row in _while(found.rows, found.clock)))
    rows = [read(*row.line, rules) for row in _while(found.rows, found.clock)]
    there = what_is_there(project, [row for row in rows if isinstance(row, ParsedRow)])
    admitted = decide(rows, *there, rules.reader.excerpt)
    new = [row for row, _ in admitted.new]
    n_characters = sum(sum(map(len, orjson.loads(row.payload).values())) for row in new)
    return {
        "n_checked": len(rows),
        "n_new": len(new),
        "n_duplicates": admitted.count(Kind.DUPLICATE),
        "n_revived": admitted.count(Kind.REVIVED),
        "n_rejected": admitted.count(Kind.REJECTED),
        "rows": tuple(_shown_row(row, rules) for row in new[:N_SHOWN]),
        "rejected": _rejected(admitted),
        "labels": _labels(rules, found, len(rows)),
        "confidences": _confidences(rules, rows),
        "mean_characters": n_characters / len(new) if new else 0.0,
    }


def _confidences(rules: Rules, rows: list[ParsedRow | RejectedRow]) -> tuple[str, ...]:
    silver = [row.silver for row in rows if isinstance(row, ParsedRow)]
    return tuple(confidence.notes(rules.fields, rules.scale, len(rules.labels), confidence.n_unread(silver)))


def _shown_row(row: ParsedRow, rules: Rules) -> PreviewRow:
    silver = None
    if row.silver is not None:
        names = {label.index: label.name for label in rules.labels.values()}
        silver = row.silver.message or str(row.silver.status)
        silver = silver if row.silver.index is None else names[row.silver.index]
    gold = row.gold.name if row.gold else None
    payload, metadata = orjson.loads(row.payload), orjson.loads(row.metadata)
    return PreviewRow(row.line, row.external_id, payload, metadata, gold, silver)


def _rejected(admitted: Admitted) -> tuple[RejectedRow, ...]:
    return tuple(line for line in admitted.lines if line.kind == Kind.REJECTED)


def _labels(rules: Rules, found: FilePreview, n_rows: int) -> dict[str, tuple[LabelSeen, ...]]:
    """How often each name occurs in the columns of gold and silver: people see unknown names before they import."""
    named = {"gold": rules.fields.gold, "silver": rules.fields.silver}
    counts = {role: Counter[tuple[str, bool]]() for role, column in named.items() if column}
    for row in _while(found.rows[:n_rows], found.clock):
        for role, count in counts.items():
            value = rules.value(row.columns or {}, named[role])
            if not is_empty(value):
                count[shown(value), rules.matcher.find(value) is not None] += 1
    return {role: label_columns.counted(count) for role, count in counts.items()}
