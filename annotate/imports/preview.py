"""Decides what the preview of an upload shows: what an import would make of it. No row of the file is stored."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO

import orjson
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate import access
from annotate.errors import InvalidInput
from annotate.formats import detection, nested, own_export
from annotate.formats.columns import Chosen, check, propose, unnamed_labels, without_labels
from annotate.formats.dialect import Dialect
from annotate.formats.jsonl import MAX_LINE_BYTES
from annotate.formats.reader import Line, Reader, reader_of
from annotate.formats.streams import Facts
from annotate.imports import confidence, label_columns
from annotate.imports.label_columns import LabelColumn, LabelSeen, shown, warning
from annotate.imports.rows import Admitted, Kind, ParsedRow, Rules, decide, read
from annotate.imports.uploads import opened
from annotate.imports.writer import checked, rules_of, what_is_there
from annotate.label_names import matcher
from annotate.modalities import modality
from annotate.models import Project, RejectedRow, Upload, User
from models_ml.label_matching import is_empty

N_CHECKED = 1_000  # rows that a preview reads as an import would
N_SHOWN = 20  # new items
_SAMPLE_BYTES = 16 << 20  # fewer rows are checked where they are so long: all of them are in memory
QUICK_BYTES = 4 << 20  # of the file, unpacked, that a quick preview reads
_N_SAMPLES = 3  # values of a column


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
    is_quick: bool = True,
) -> Preview:
    """What an import would make of this upload, by reading its first N_CHECKED rows as an import does.

    Quick, it reads about QUICK_BYTES of the file, and counts and detects by them. `dialect`: settings that a person
    chose instead of the detected ones. `columns`: column by role, instead of the proposal, in which no column holds
    labels. `ask`: further columns that may hold labels. InvalidInput if the file is neither a table nor JSON, or
    cannot be read like this at all.
    """
    access.require(by, upload.project, to="manage")
    project, columns = upload.project, columns or {}
    with opened(upload) as file:
        found = _detected(file, upload, dialect or {}, columns, is_quick)
        reader = reader_of(found.dialect)
        names = reader.names(file)
        lines = reader.lines(file)
        sample = _sample(reader, lines)
        n_rows = _n_rows(file, lines, len(sample), found.facts)
    mapping = _mapping(found.dialect, names, columns, project)
    share = found.facts.share
    seen = Preview(
        dialect=found.dialect,
        is_sure=found.is_sure,
        notes=found.notes,
        columns=_columns(names, mapping, reader, sample),
        mapping=mapping,
        n_rows=n_rows,
        n_bytes=round(found.facts.n_bytes / share),
        n_checked=len(sample),
        is_whole=found.facts.is_whole,
        n_bytes_read=found.facts.n_bytes,
        label_columns=_label_columns(project, reader, sample, names, mapping, ask),
        doubts=tuple(reader.warnings),
    )
    try:
        _check_any(names, reader, sample)
        rules = _rules(project, mapping, reader, names, found.dialect)
    except InvalidInput as error:
        return replace(seen, problem=str(error))
    unnamed = tuple(unnamed_labels(names, rules.fields, rules.modality.FIELDS))
    return replace(seen, unnamed=unnamed, **_outcome(project, rules, sample))


def _detected(
    file: BinaryIO, upload: Upload, choices: Mapping[str, Any], columns: Chosen, is_quick: bool
) -> detection.Detected:
    """The file's dialect: what a person chose, and the rest as detected."""
    limit, name = settings.IMPORT_MAX_BYTES, upload.file_name
    Dialect.from_json({"format": "csv", **choices})  # refuses impossible choices before the file is read
    most, wanted = QUICK_BYTES if is_quick else None, [column for column in columns.values() if column]
    found = detection.detect(file, name, limit=limit, most=most, choices=choices, columns=wanted)
    reader = reader_of(found.dialect)
    if found.facts.is_whole:
        reader.inspect(file, name, limit=limit)
    else:
        reader.check_beginning(file, name)
    return found


def _sample(reader: Reader, lines: Iterator[Line]) -> list[Line]:
    """The first N_CHECKED rows, or those that about _SAMPLE_BYTES hold."""
    sample, n_bytes = list[Line](), 0
    for line in islice(lines, N_CHECKED):
        sample.append(line)
        n_bytes += reader.size(line[1])
        if n_bytes >= _SAMPLE_BYTES:
            break
    return sample


def _n_rows(file: BinaryIO, lines: Iterator[Line], n_rows: int, facts: Facts) -> int:
    """How many rows the file has, of which `n_rows` are read; of a file not read whole about how many.

    They are counted as far as the file was read, and the rest is taken to have as many in as many stored bytes.
    """
    if facts.is_whole:
        return n_rows + sum(1 for _ in lines)
    size, place = facts.stamp[0], file.tell()
    for _line in lines:
        # The file is read in blocks: where another one was needed, the rows before came from those before.
        if (now := file.tell()) != place:
            if now > facts.share * size:
                return round(n_rows * size / place)
            place = now
        n_rows += 1
    return n_rows


def _mapping(dialect: Dialect, names: list[str], columns: Chosen, project: Project) -> dict[str, str | None]:
    """The column of each role as chosen; columns of content and id are proposed where nobody chose any.

    In an export of Goldloop the columns of labels are known, too.
    """
    fields = modality(project.modality).FIELDS
    if columns.keys() & {*fields, "id"}:
        return dict(columns)
    if dialect.export:
        return {**own_export.propose(names, fields), **columns}
    return {**without_labels(propose(names, fields)), **columns}


def _check_any(names: list[str], reader: Reader, sample: list[Line]) -> None:
    """InvalidInput, with the reason of the first row, if no row has a field: then no column can be chosen."""
    if names or not sample:
        return
    number, raw, is_whole = sample[0]
    reason = _("is longer than %(most)s bytes") % {"most": f"{MAX_LINE_BYTES:,}"}
    try:
        if is_whole:
            reader.parse(raw)
            reason = _("has no fields")
    except InvalidInput as error:
        reason = str(error)
    sentence = ngettext(
        "The first row cannot be read: row %(number)s %(reason)s.",
        "None of the first %(n)s rows can be read: row %(number)s, the first, %(reason)s.",
        len(sample),
    )
    raise InvalidInput(sentence % {"n": f"{len(sample):,}", "number": f"{number:,}", "reason": reason})


def _label_columns(
    project: Project, reader: Reader, sample: list[Line], names: list[str], mapping: Chosen, more: Collection[str]
) -> tuple[LabelColumn, ...]:
    schema = project.schemas.order_by("-version").first()
    labels = matcher(schema.labels.all() if schema else ())
    return label_columns.find(_parsed(reader, sample), names, mapping, labels, more)


def _rules(project: Project, mapping: Chosen, reader: Reader, names: list[str], dialect: Dialect) -> Rules:
    fields = checked(mapping, project)
    check(fields, modality(project.modality).FIELDS, names)
    own_export.check(fields, dialect)
    return rules_of(project, project.schemas.order_by("-version").first(), fields, reader)


def _columns(names: list[str], mapping: Chosen, reader: Reader, sample: list[Line]) -> tuple[Column, ...]:
    seen: dict[str, dict[str, None]] = {name: {} for name in names}
    for columns in _parsed(reader, sample):
        for name in names:
            if len(seen[name]) < _N_SAMPLES and (value := nested.value_at(columns, name)) not in (None, ""):
                seen[name][shown(value)] = None
    roles = {column: role for role, column in mapping.items() if column}
    return tuple(Column(name, tuple(samples), roles.get(name)) for name, samples in seen.items())


def _outcome(project: Project, rules: Rules, sample: list[Line]) -> dict[str, Any]:
    """What the sample's rows would become, as fields of Preview."""
    rules = confidence.scaled(rules, sample)
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


def _labels(rules: Rules, sample: list[Line]) -> dict[str, tuple[LabelSeen, ...]]:
    """How often each name occurs in the columns of gold and silver: people see unknown names before they import."""
    named = {"gold": rules.fields.gold, "silver": rules.fields.silver}
    counts = {role: Counter[tuple[str, bool]]() for role, column in named.items() if column}
    for columns in _parsed(rules.reader, sample):
        for role, count in counts.items():
            value = rules.value(columns, named[role])
            if not is_empty(value):
                count[shown(value), rules.matcher.find(value) is not None] += 1
    return {role: label_columns.counted(count) for role, count in counts.items()}


def _parsed(reader: Reader, sample: list[Line]) -> Iterator[dict[str, Any]]:
    """The values by column of each row that can be parsed."""
    for _number, raw, is_whole in sample:
        try:
            if is_whole:
                yield reader.parse(raw)
        except InvalidInput:
            continue
