"""Decides how a file that Goldloop exported is read back: which columns mean what, and which labels are labels.

Gold is what the column `label` says where `label_source` is gold: everything else in that column is a machine's. The
machine's label is `silver_label` where `silver_status` is ok. What else an export says of an item speaks of the project
that was exported, and is left out; columns that somebody added become metadata, as in every file.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from django.utils.translation import gettext as _

from annotate.errors import InvalidInput
from annotate.formats import spreadsheet
from annotate.formats.columns import Fields
from annotate.formats.dialect import Dialect
from annotate.formats.streams import Facts
from annotate.formats.tables import MAX_COLUMNS

GOLD, SILVER, CONFIDENCE = "label", "silver_label", "silver_probability"
STATUS = "silver_status"  # how the machine's answer ended; a row has it only where it ended without a label
ASKED = (SILVER, STATUS)  # a row about which the machine was asked has one of them
_PAYLOAD = "payload"
_LEFT_OUT = frozenset(
    (
        "label_source", "label_probability", "gold_rule", "gold_origin", "arms", "split", "pi", "stratum", STATUS,
        "request_stratum",
        "model_label", "model_probability", "fold", "annotators", "n_annotations", "agreement", "llm_version",
        "prompt_version", "model_version", "schema_version", "guideline_version", "labeled_at", spreadsheet.COLUMN,
    )
)  # fmt: skip
_SOURCES = {"gold", "machine"}
_SAMPLE = 1_000


class Exported:
    """Reads the rows of an export by the reader of its format, as rows whose labels are what they say they are."""

    is_typed = True

    def __init__(self, base: Any, dialect: Dialect) -> None:
        self.base, self.dialect = base, dialect

    def inspect(
        self, file: BinaryIO, name: Path | str, beat: Callable[[], None] = lambda: None, *, limit: int | None = None
    ) -> Facts:
        return self.base.inspect(file, name, beat, limit=limit)

    @property
    def warnings(self) -> list[str]:
        return self.base.warnings

    def check_beginning(self, file: BinaryIO, name: Path | str) -> None:
        self.base.check_beginning(file, name)

    def names(self, file: BinaryIO) -> list[str]:
        """The columns of the first thousand rows, without those that are left out."""
        names: dict[str, None] = {}
        for _number, raw, is_whole in islice(self.lines(file), _SAMPLE):
            try:
                row = self._flat(self.base.parse(raw)) if is_whole else {}
            except InvalidInput:
                continue
            has_silver = {SILVER, STATUS} <= row.keys()  # also where no machine was asked about the first rows
            found = (*meaning(row), *((SILVER, CONFIDENCE) if has_silver else ()))
            names.update(dict.fromkeys(islice(found, max(0, MAX_COLUMNS - len(names)))))
        return list(names)

    def lines(self, file: BinaryIO, *, skip: int = 0) -> Iterator[tuple[int, Any, bool]]:
        return self.base.lines(file, skip=skip)

    def parse(self, raw: Any) -> dict[str, Any]:
        return meaning(self._flat(self.base.parse(raw)))

    def excerpt(self, raw: Any) -> str:
        return self.base.excerpt(raw)

    def size(self, raw: Any) -> int:
        return self.base.size(raw)

    def _flat(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with one column per field of the payload, its cells as they were before they were written."""
        if self.dialect.format != "csv" and not is_spread(row):
            return _spread(row)
        restore = _RESTORE.get(self.dialect.export)
        if restore:
            row = {name: (restore(cell) or None) if isinstance(cell, str) else cell for name, cell in row.items()}
        elif not self.base.is_typed:  # another program wrote it anew, and nobody knows which empty cells were null
            row = {name: cell or None for name, cell in row.items()}
        return {**row, CONFIDENCE: _number(row.get(CONFIDENCE))}


def is_spread(names: Collection[str]) -> bool:
    """Whether the fields of the payload stand beside the others, as in tables, and in JSON that was made of one."""
    return _PAYLOAD not in names and any(name.startswith(f"{_PAYLOAD}.") for name in names)


def may_be_export(rows: Collection[Mapping[str, Any]]) -> bool:
    """Whether these rows say what exports say: an object as payload, and gold or machine where they name a source."""
    if any(spreadsheet.COLUMN in row for row in rows):
        return True
    payloads = (row[_PAYLOAD] for row in rows if _PAYLOAD in row)
    sources = {str(source).strip().lower() for row in rows if (source := row.get("label_source")) not in (None, "")}
    return all(isinstance(payload, dict) for payload in payloads) and (not sources or bool(sources & _SOURCES))


def kind_of(names: Collection[str], *, is_table: bool) -> str:
    """Which of EXPORTS a file with these columns is; "" if Goldloop did not write it.

    Columns may have been added, and taken away; without `label_source` nobody knows whose labels `label` holds.
    `is_table`: whether each field of the payload has a column of its own.
    """
    if spreadsheet.COLUMN in names:
        return "spreadsheet"
    has_payload = any(name.startswith(f"{_PAYLOAD}.") for name in names) if is_table else _PAYLOAD in names
    if not has_payload or not {"label", "label_source"} <= set(names):
        return ""
    return "escaped" if is_table and "stratum" in names else "plain"


def meaning(row: dict[str, Any]) -> dict[str, Any]:
    """The row without what is left out, and with labels only where they are gold, or the machine's valid answer."""
    found = {name: value for name, value in row.items() if name not in _LEFT_OUT}
    found[GOLD] = row.get(GOLD) if row.get("label_source") == "gold" else None
    status = row.get(STATUS)
    if status != "ok":
        found.pop(SILVER, None)
        found.pop(CONFIDENCE, None)
        if status:
            found[STATUS] = status
    return found


def propose(names: Sequence[str], fields: Sequence[str]) -> dict[str, str | None]:
    """The column for each role in an export with these columns; None where it has no such column."""
    content = {field: f"{_PAYLOAD}.{field}" for field in fields}
    roles = {**content, "id": "external_id", "gold": GOLD, "silver": SILVER, "confidence": CONFIDENCE}
    return {role: column if column in names else None for role, column in roles.items()}


def check(fields: Fields, dialect: Dialect) -> None:
    """InvalidInput if the file is an export and another of its columns than that of gold would become gold."""
    if dialect.export and fields.gold not in (None, GOLD):
        sentence = _("This is an export of Goldloop: gold is in its column “%(gold)s”, and in no other.")
        raise InvalidInput(sentence % {"gold": GOLD})


def notes(dialect: Dialect) -> tuple[str, ...]:
    """Sentences for people about how this export is read; none for a file of others."""
    if not dialect.export:
        return ()
    what = _(
        "This is an export of Goldloop. Its texts and ids are taken as they were; a label is gold only where "
        "label_source says gold, and the machine's only where silver_status says ok. What else it says of its own "
        "project is left out."
    )
    return (what, *_NOTES.get(dialect.export, tuple)())


def _note_on_format_1() -> tuple[str, ...]:
    return (
        _(
            "An earlier version wrote this CSV, and put an apostrophe before each text that begins like a formula. One "
            "is taken away from each text that begins like that: a text that had such an apostrophe of its own loses "
            "it, since the file does not tell the two apart. The JSON Lines file of the same export does."
        ),
    )


def _note_on_spreadsheets() -> tuple[str, ...]:
    return (_("It is the CSV for spreadsheets: the apostrophes that it put before formulas are taken away again."),)


def _spread(row: dict[str, Any]) -> dict[str, Any]:
    payload = row.get(_PAYLOAD)
    if not isinstance(payload, dict):
        raise InvalidInput(_("has no object in “payload”"))
    fields = {f"{_PAYLOAD}.{name}": value for name, value in payload.items()}
    return {**fields, **{name: value for name, value in row.items() if name != _PAYLOAD}}


def _number(cell: Any) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


_RESTORE: dict[str, Callable[[str], str]] = {
    "spreadsheet": spreadsheet.unescape,
    "escaped": spreadsheet.without_first_apostrophe,
}
_NOTES: dict[str, Callable[[], tuple[str, ...]]] = {
    "escaped": _note_on_format_1,
    "spreadsheet": _note_on_spreadsheets,
}
