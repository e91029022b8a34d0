"""Decides what a row of a file becomes: a new item, a duplicate, a withdrawn item brought back, or a rejected line."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _

from annotate.errors import InvalidInput
from annotate.formats import jsonl, nested, own_export
from annotate.formats.columns import Fields as Fields
from annotate.formats.reader import JsonLines, Reader
from annotate.label_names import said, why_none
from annotate.modalities import Modality
from annotate.models import Label, Prediction, RejectedRow
from models_ml import confidences
from models_ml.confidences import Scale
from models_ml.label_matching import Matcher, is_empty

MAX_ID = 200  # characters of an external id
_MAX_NAME = 100  # characters of a label or an id in a reason
_MAX_REASON = 300

Kind = RejectedRow.Kind


@dataclass(frozen=True)
class Rules:
    """How the rows of one import are read."""

    modality: Modality
    fields: Fields
    labels: dict[str, Label]  # by name; empty where no column carries labels
    reader: Reader = field(default_factory=JsonLines)
    scale: Scale = Scale.FRACTION  # of the confidences (annotate/imports/confidence.py decides it)

    @cached_property
    def matcher(self) -> Matcher[Label]:
        """Finds the label that a value means."""
        return Matcher(self.labels)

    @cached_property
    def known_columns(self) -> frozenset[str | None]:
        """The columns of content, id, gold and silver. All others become metadata.

        So does the confidence, which is no distribution if there are more than two labels.
        """
        content = [self.fields.column(name) for name in self.modality.FIELDS]
        return frozenset({self.fields.id, *content, self.fields.gold, self.fields.silver})

    @cached_property
    def paths(self) -> frozenset[str]:
        """The columns of content, id, gold and silver that are fields of objects in a row."""
        return frozenset(name for name in self.known_columns if name and "." in name and self.reader.is_typed)

    def parse(self, raw: Any) -> dict[str, Any]:
        """The row's values by column, with nested fields under their paths; InvalidInput: it cannot be used."""
        columns = self.reader.parse(raw)
        return nested.lifted(columns, self.paths) if self.paths else columns

    def value(self, columns: dict[str, Any], name: str | None) -> Any:
        """The row's value in the column `name`; None where there is no column, or a table's cell is empty."""
        value = nested.value_at(columns, name) if name else None
        return None if value == "" and not self.reader.is_typed else value


@dataclass(slots=True, frozen=True)
class ImportedSilver:
    """A machine's label that came with a row, or the kind of failure where the row has no such label."""

    status: str  # of Prediction.Status
    index: int | None = None  # of the label
    vector: bytes | None = None  # the labels' probabilities as float32, None where unknown
    message: str = ""


@dataclass(slots=True)
class ParsedRow:
    """A line that can become an item, with the labels that it carries."""

    line: int
    raw: Any  # as the reader gave it
    external_id: str | None
    content_hash: str
    payload: str  # JSON
    metadata: str  # JSON
    gold: Label | None
    silver: ImportedSilver | None
    prn: float = 0.0  # from key and content; set by Writer.read, as the fold is, since a preview needs neither
    fold: int = 0


@dataclass(slots=True)
class Known:
    """The project's one item with some content: stored already, or about to be."""

    id: int  # 0 until it is stored
    public_id: str
    is_withdrawn: bool = False
    gold: str | None = None  # label name
    takes_gold: bool = True  # False once a round was drawn: gold for items that somebody picked would bias the audit


@dataclass(slots=True)
class Admitted:
    """What a chunk of rows becomes: new items, labels for items, and lines that made no item."""

    new: list[tuple[ParsedRow, Known]] = field(default_factory=list)
    gold: list[tuple[Known, Label]] = field(default_factory=list)
    silver: list[tuple[Known, ImportedSilver]] = field(default_factory=list)
    lines: list[RejectedRow] = field(default_factory=list)  # duplicates and revivals included

    def count(self, kind: str) -> int:
        """How many of the lines are of this kind."""
        return sum(line.kind == kind for line in self.lines)


def read(number: int, raw: Any, is_whole: bool, rules: Rules) -> ParsedRow | RejectedRow:
    """Parse line `number`; a line that cannot be used becomes a RejectedRow with the reason.

    `is_whole`: False if the line was too long and `raw` is only its beginning.
    """
    external_id = None
    try:
        if not is_whole:
            raise InvalidInput(_("is longer than %(most)s bytes") % {"most": f"{jsonl.MAX_LINE_BYTES:,}"})
        columns = rules.parse(raw)
        external_id = _external_id(rules.value(columns, rules.fields.id), rules.fields.id)
        payload = rules.modality.payload_of(columns, rules.fields.content)
        gold = _gold(columns, rules)
        silver = _silver(columns, rules) if _has_silver(columns, rules) else None
        known = rules.known_columns
        metadata = jsonl.dumps({name: value for name, value in columns.items() if name not in known})
    except InvalidInput as error:
        return _line(Kind.REJECTED, number, str(error), external_id, rules.reader.excerpt(raw))
    content_hash = rules.modality.content_hash(payload)
    return ParsedRow(number, raw, external_id, content_hash, jsonl.dumps(payload), metadata, gold, silver)


def decide(
    rows: Iterable[ParsedRow | RejectedRow],
    known: dict[str, Known],
    holders: dict[str, str],
    excerpt: Callable[[Any], str] = jsonl.excerpt,
) -> Admitted:
    """Decide what each row of a chunk becomes, in the order of the file.

    `known`: the project's items by content hash. `holders`: by external id, the content hash of the item that has it.
    Both are updated row by row, so that each row sees those before it.
    """
    admitted = Admitted()
    for row in rows:
        if isinstance(row, RejectedRow):
            admitted.lines.append(row)
            continue
        item = known.get(row.content_hash)
        if reason := _why_rejected(row, item, holders):
            admitted.lines.append(_line(Kind.REJECTED, row.line, reason, row.external_id, excerpt(row.raw)))
            continue
        if item is None:
            item = known[row.content_hash] = Known(0, "")
            admitted.new.append((row, item))
            _claim_id(row, holders)
        elif item.is_withdrawn:
            item.is_withdrawn = False
            reason = "brings back a withdrawn item with the same content"
            admitted.lines.append(_line(Kind.REVIVED, row.line, reason, row.external_id, item.public_id))
            _claim_id(row, holders)
        else:
            reason = _why_duplicate(row, item)
            admitted.lines.append(_line(Kind.DUPLICATE, row.line, reason, row.external_id, excerpt(row.raw)))
        if row.gold is not None and item.gold is None:
            item.gold = row.gold.name
            admitted.gold.append((item, row.gold))
        if row.silver is not None:
            admitted.silver.append((item, row.silver))
    return admitted


def _claim_id(row: ParsedRow, holders: dict[str, str]) -> None:
    if row.external_id is not None:
        holders[row.external_id] = row.content_hash


def _why_rejected(row: ParsedRow, item: Known | None, holders: dict[str, str]) -> str:
    if row.external_id is not None and holders.get(row.external_id, row.content_hash) != row.content_hash:
        return f"the id {_short(row.external_id)} already belongs to an item with other content"
    if row.gold is not None and item is not None and item.gold not in (None, row.gold.name):
        return f"says gold is {_short(row.gold.name)}; the same content has gold {_short(item.gold)} already"
    if row.gold is not None and item is not None and item.gold is None and not item.takes_gold:
        return "carries gold for an item that is there already; after the first round gold comes from people"
    return ""


def _why_duplicate(row: ParsedRow, item: Known) -> str:
    attaches = row.gold is not None and item.gold is None
    return "same content as an item that is there" + ("; its gold label was added to it" if attaches else "")


def _line(kind: str, number: int, reason: str, external_id: str | None, excerpt: str) -> RejectedRow:
    return RejectedRow(kind=kind, line=number, reason=reason[:_MAX_REASON], external_id=external_id, excerpt=excerpt)


def _external_id(value: object, column: str | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidInput(
            _('"%(column)s" is %(type)s, neither a string nor an integer')
            % {"column": column, "type": type(value).__name__}
        )
    text = str(value)
    if not text.strip():
        raise InvalidInput(_('"%(column)s" is empty') % {"column": column})
    if len(text) > MAX_ID:
        raise InvalidInput(
            _('"%(column)s" has %(many)s characters; at most %(most)s are taken')
            % {"column": column, "many": f"{len(text):,}", "most": MAX_ID}
        )
    return text


def _gold(columns: dict[str, Any], rules: Rules) -> Label | None:
    """The row's gold label; None if its cell is empty, InvalidInput if the cell names no label of the project."""
    value = rules.value(columns, rules.fields.gold)
    if is_empty(value):
        return None
    label = rules.matcher.find(value)
    if label is None:
        raise InvalidInput(_("the gold label %(value)s") % {"value": why_none(value)})
    return label


def _has_silver(columns: dict[str, Any], rules: Rules) -> bool:
    """Whether a machine was asked about the row, as far as the file says."""
    is_export = isinstance(rules.reader, own_export.Exported) and rules.fields.silver == own_export.SILVER
    return bool(rules.fields.silver) and not (is_export and columns.keys().isdisjoint(own_export.ASKED))


def _silver(columns: dict[str, Any], rules: Rules) -> ImportedSilver:
    """The machine's label where the cell means a label, else a failure: a nearest match would be a guess."""
    assert rules.fields.silver
    value = rules.value(columns, rules.fields.silver)
    if value is None:
        return ImportedSilver(_failure(columns, rules))
    if is_empty(value):
        return ImportedSilver(Prediction.Status.EMPTY)
    label = rules.matcher.find(value)
    if label is None:
        return ImportedSilver(Prediction.Status.OUT_OF_SET, message=f"answered {said(value)}")
    value = rules.value(columns, rules.fields.confidence)
    if len(rules.labels) != 2 or is_empty(value):  # of more labels nobody knows how the rest is spread
        return ImportedSilver(Prediction.Status.OK, label.index)
    confidence = confidences.read(value, rules.scale)
    if confidence is None:
        message = f"the confidence {said(value)} is no {rules.scale}, so it is unknown"
        return ImportedSilver(Prediction.Status.OK, label.index, message=message)
    return ImportedSilver(Prediction.Status.OK, label.index, _vector(label.index, confidence))


def _failure(columns: dict[str, Any], rules: Rules) -> str:
    """How the machine's answer ended that is no label; MISSING where the file does not say."""
    status = columns.get(own_export.STATUS) if isinstance(rules.reader, own_export.Exported) else None
    is_known = status in Prediction.Status.values and status != Prediction.Status.OK
    return str(status) if is_known else Prediction.Status.MISSING


def _vector(index: int, confidence: float) -> bytes:
    """The probabilities of two labels from the confidence in one."""
    both = (confidence, 1 - confidence) if index == 0 else (1 - confidence, confidence)
    return struct.pack("<2f", *both)


def _short(name: str | None) -> str:
    return repr(jsonl.excerpt((name or "").encode())[:_MAX_NAME])
