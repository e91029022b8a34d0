"""Decides what the preview of an upload shows: what an import would make of it. No row of the file is stored."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO

import orjson
from django.conf import settings

from annotate import access
from annotate.errors import InvalidInput
from annotate.formats import detection, own_export
from annotate.formats.columns import Chosen, check, propose
from annotate.formats.dialect import Dialect
from annotate.formats.reader import Line, Reader, reader_of
from annotate.imports.rows import Admitted, Kind, ParsedRow, Rules, decide, read
from annotate.imports.uploads import opened
from annotate.imports.writer import checked, rules_of, what_is_there
from annotate.modalities import modality
from annotate.models import Project, RejectedRow, Upload, User
from models_ml.label_matching import is_empty

N_CHECKED = 1_000  # rows that a preview reads as an import would
N_SHOWN = 20  # new items
_N_SAMPLES = 3  # values of a column
_N_LABELS = 50  # names in a column of labels
_SAMPLE = 80  # characters of a value


@dataclass(frozen=True)
class Column:
    """A column of the file, with the first different values in it."""

    name: str
    samples: tuple[str, ...]
    role: str | None  # text (or text_a, text_b), id, gold, silver, confidence; None: it becomes metadata


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
class LabelSeen:
    """A name in a column of labels, and how often it occurs."""

    name: str
    n: int
    is_known: bool  # whether the project has this label


@dataclass(frozen=True)
class Preview:
    """What an import would make of a file."""

    dialect: Dialect
    is_sure: bool  # False: the encoding is a guess
    notes: tuple[str, ...]
    columns: tuple[Column, ...]
    mapping: dict[str, str | None]  # column by role, as import_upload takes it
    n_rows: int
    n_bytes: int  # unpacked
    n_checked: int  # how many rows, from the first on, the figures below count
    problem: str = ""  # why the file cannot be imported like this; the figures below are then missing
    n_new: int = 0
    n_duplicates: int = 0  # rows with the content of an earlier row, or of an item of the project
    n_revived: int = 0  # rows that would bring back a withdrawn item
    n_rejected: int = 0
    rows: tuple[PreviewRow, ...] = ()
    rejected: tuple[RejectedRow, ...] = ()  # not stored; line, reason, external_id and excerpt are set
    labels: dict[str, tuple[LabelSeen, ...]] = field(default_factory=dict)  # most frequent names, by gold and silver
    mean_characters: float = 0.0  # of the content of new items

    @property
    def n_expected(self) -> int:
        """How many new items the whole file would give if its other rows are like those checked."""
        return round(self.n_rows * self.n_new / self.n_checked) if self.n_checked else 0


def of_upload(
    *, upload: Upload, by: User, dialect: Mapping[str, Any] | None = None, columns: Chosen | None = None
) -> Preview:
    """What an import would make of this upload, by reading its first N_CHECKED rows as an import does.

    `dialect`: settings that a person chose instead of the detected ones. `columns`: column by role, instead of the
    proposal. InvalidInput if the file is neither a table nor JSON Lines, or cannot be read like this at all.
    """
    access.require(by, upload.project, to="manage")
    with opened(upload) as file:
        found = _detected(file, upload, dialect or {})
        reader = reader_of(found.dialect)
        names = reader.names(file)
        lines = reader.lines(file)
        sample = list(islice(lines, N_CHECKED))
        n_rows = len(sample) + sum(1 for _ in lines)
    mapping = dict(columns) if columns else _proposed(found.dialect, names, upload.project)
    seen = Preview(
        dialect=found.dialect,
        is_sure=found.is_sure,
        notes=found.notes,
        columns=_columns(names, mapping, reader, sample),
        mapping=mapping,
        n_rows=n_rows,
        n_bytes=found.facts.n_bytes,
        n_checked=len(sample),
    )
    try:
        rules = _rules(upload.project, mapping, reader, names, found.dialect)
    except InvalidInput as error:
        return replace(seen, problem=str(error))
    return replace(seen, **_outcome(upload.project, rules, sample))


def _detected(file: BinaryIO, upload: Upload, choices: Mapping[str, Any]) -> detection.Detected:
    """The file's dialect: what a person chose, and the rest as detected."""
    limit = settings.IMPORT_MAX_BYTES
    Dialect.from_json({"format": "csv", **choices})  # refuses impossible choices before the file is read
    found = detection.detect(file, upload.file_name, limit=limit, encoding=choices.get("encoding", ""))
    dialect = Dialect.from_json({**found.dialect.to_json(), **choices})
    reader_of(dialect).inspect(file, upload.file_name, limit=limit)
    return replace(found, dialect=dialect)


def _proposed(dialect: Dialect, names: list[str], project: Project) -> dict[str, str | None]:
    fields = modality(project.modality).FIELDS
    if dialect.export:
        return own_export.propose(names, fields)
    return propose(names, fields)


def _rules(project: Project, mapping: Chosen, reader: Reader, names: list[str], dialect: Dialect) -> Rules:
    fields = checked(mapping, project)
    check(fields, modality(project.modality).FIELDS, names)
    own_export.check(fields, dialect)
    return rules_of(project, project.schemas.order_by("-version").first(), fields, reader)


def _columns(names: list[str], mapping: Chosen, reader: Reader, sample: list[Line]) -> tuple[Column, ...]:
    seen: dict[str, dict[str, None]] = {name: {} for name in names}
    for columns in _parsed(reader, sample):
        for name, value in columns.items():
            if name in seen and len(seen[name]) < _N_SAMPLES and value not in (None, ""):
                seen[name][_shown(value)] = None
    roles = {column: role for role, column in mapping.items() if column}
    return tuple(Column(name, tuple(samples), roles.get(name)) for name, samples in seen.items())


def _outcome(project: Project, rules: Rules, sample: list[Line]) -> dict[str, Any]:
    """What the sample's rows would become, as fields of Preview."""
    rows = [read(*line, rules) for line in sample]
    there = what_is_there(project, [row for row in rows if isinstance(row, ParsedRow)])
    admitted = decide(rows, *there, rules.reader.excerpt)
    new = [row for row, _ in admitted.new]
    n_characters = sum(sum(map(len, orjson.loads(row.payload).values())) for row in new)
    return {
        "n_new": len(new),
        "n_duplicates": admitted.count(Kind.DUPLICATE),
        "n_revived": admitted.count(Kind.REVIVED),
        "n_rejected": admitted.count(Kind.REJECTED),
        "rows": tuple(_shown_row(row, rules) for row in new[:N_SHOWN]),
        "rejected": _rejected(admitted),
        "labels": _labels(rules, sample),
        "mean_characters": n_characters / len(new) if new else 0.0,
    }


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


def _labels(rules: Rules, sample: list[Line]) -> dict[str, tuple[LabelSeen, ...]]:
    """How often each name occurs in the columns of gold and silver: people see unknown names before they import."""
    named = {"gold": rules.fields.gold, "silver": rules.fields.silver}
    counts = {role: Counter[tuple[str, bool]]() for role, column in named.items() if column}
    for columns in _parsed(rules.reader, sample):
        for role, count in counts.items():
            value = columns.get(named[role] or "")
            if not is_empty(value):
                count[_shown(value), rules.matcher.find(value) is not None] += 1
    return {
        role: tuple(LabelSeen(name, n, is_known) for (name, is_known), n in count.most_common(_N_LABELS))
        for role, count in counts.items()
    }


def _parsed(reader: Reader, sample: list[Line]) -> Iterator[dict[str, Any]]:
    """The values by column of each row that can be parsed."""
    for _number, raw, is_whole in sample:
        try:
            if is_whole:
                yield reader.parse(raw)
        except InvalidInput:
            continue


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _SAMPLE else f"{text[: _SAMPLE - 1]}…"
