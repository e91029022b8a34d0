"""Decides how a person says what a file is: the choices of the preview's form, what they mean, and what is asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import InvalidInput
from annotate.formats.dialect import DELIMITERS, Dialect
from annotate.imports.label_columns import N_NAMES, LabelColumn
from annotate.modalities import modality
from annotate.models import Project

ROLES: dict[str, Promise] = {
    "text": gettext_lazy("Text"),
    "text_a": gettext_lazy("First text"),
    "text_b": gettext_lazy("Second text"),
    "id": gettext_lazy("Id"),
    "gold": gettext_lazy("Gold label"),
    "silver": gettext_lazy("Machine's label"),
    "confidence": gettext_lazy("Machine's confidence"),
}
ENCODING_WORDS: dict[str, Promise] = {
    "utf-8": gettext_lazy("UTF-8"),
    "utf-16": gettext_lazy("UTF-16"),
    "utf-16-le": gettext_lazy("UTF-16 (little endian)"),
    "utf-16-be": gettext_lazy("UTF-16 (big endian)"),
    "cp1252": gettext_lazy("Windows-1252 (Western European)"),
    "latin-1": gettext_lazy("ISO 8859-1 (Latin-1)"),
    "iso8859-15": gettext_lazy("ISO 8859-15 (Latin-9)"),
    "cp1250": gettext_lazy("Windows-1250 (Central European)"),
    "cp1251": gettext_lazy("Windows-1251 (Cyrillic)"),
    "shift_jis": gettext_lazy("Shift JIS (Japanese)"),
    "gb18030": gettext_lazy("GB 18030 (Chinese)"),
    "big5": gettext_lazy("Big5 (Chinese)"),
    "euc_kr": gettext_lazy("EUC-KR (Korean)"),
    "koi8-r": gettext_lazy("KOI8-R (Russian)"),
    "koi8-u": gettext_lazy("KOI8-U (Ukrainian)"),
    "mac_roman": gettext_lazy("Mac Roman (Western European)"),
    "mac_cyrillic": gettext_lazy("Mac Cyrillic"),
}
DELIMITER_WORDS: dict[str, Promise] = {
    "comma": gettext_lazy("Comma (,)"),
    "semicolon": gettext_lazy("Semicolon (;)"),
    "tab": gettext_lazy("Tab"),
    "pipe": gettext_lazy("Vertical bar (|)"),
    "none": gettext_lazy("None: a line is one cell"),
}
_FORMATS: dict[str, Promise] = {
    "csv": gettext_lazy("A table (CSV, TSV) or lines of text"),
    "jsonl": gettext_lazy("JSON Lines"),
    "json": gettext_lazy("A JSON array"),
}
_QUOTING: dict[str, Promise] = {
    "on": gettext_lazy("Enclose a cell"),
    "off": gettext_lazy("Are characters like others"),
}
_HEADERS: dict[str, Promise] = {
    "1": gettext_lazy("Names the columns"),
    "2": gettext_lazy("Is “sep=…”; the next one names the columns"),
    "0": gettext_lazy("Is a row like others"),
}
_MEANINGS: dict[str, tuple[Promise, Promise]] = {
    "gold": (
        gettext_lazy("Gold: given by people I trust"),
        gettext_lazy("Models learn from it. It is never audited, and no figure of quality is computed from it."),
    ),
    "silver": (
        gettext_lazy("Silver: another machine's"),
        gettext_lazy("It takes the place of pre-labeling: people check a part of it, and models learn to correct it."),
    ),
    "metadata": (
        gettext_lazy("Only metadata"),
        gettext_lazy("It is kept beside the item. Nothing is learned from it, and it labels nothing."),
    ),
}
LABEL_ROLES = ("gold", "silver")
MOST_ASKED = 50  # columns of one form that may hold labels
_SIGNS = {name: sign for sign, name in DELIMITERS.items()}


# ---- what a file is


def said(given: Mapping[str, str]) -> dict[str, str]:
    """The choices that decide which columns there are."""
    return {name: given.get(name, "") for name in ("format", "encoding", "delimiter", "header_line")}


def choices_of(given: Mapping[str, str]) -> dict[str, tuple[dict[str, Promise], str]]:
    """What can be chosen of the dialect, and what is."""
    known = {
        "format": _FORMATS,
        "encoding": ENCODING_WORDS,
        "delimiter": DELIMITER_WORDS,
        "header_line": _HEADERS,
        "quoting": _QUOTING,
    }
    return {name: (values, given.get(name, "")) for name, values in known.items()}


def as_form(dialect: Dialect) -> dict[str, str]:
    """The dialect as the form sends it."""
    return {
        "format": dialect.format,
        "encoding": dialect.encoding,
        "delimiter": DELIMITERS[dialect.delimiter],
        "header_line": str(dialect.header_line),
        "quoting": "on" if dialect.quoting else "off",
    }


def dialect_of(given: Mapping[str, str]) -> dict[str, Any]:
    """The dialect's fields that the form sets; the others are detected."""
    found: dict[str, Any] = {name: given[name] for name in ("format", "encoding") if given.get(name)}
    if given.get("delimiter"):
        found["delimiter"] = _SIGNS.get(given["delimiter"], given["delimiter"])
    if given.get("header_line"):
        found["header_line"] = {"0": 0, "1": 1, "2": 2}.get(given["header_line"], given["header_line"])
    if given.get("quoting"):
        found["quoting"] = {"on": True, "off": False}.get(given["quoting"], given["quoting"])
    Dialect.from_json({"format": "csv", **found})  # InvalidInput for impossible values
    return found


def columns_of(given: Mapping[str, str], project: Project) -> dict[str, str | None]:
    """The chosen column by role; empty if the form names no columns."""
    columns = {role: given[f"column_{role}"] or None for role in roles_of(project) if f"column_{role}" in given}
    for column, answer in answers_of(given):
        if answer in LABEL_ROLES:
            if columns.get(answer) not in (None, column):
                raise InvalidInput(_("Only one column can be that: %(role)s.") % {"role": ROLES[answer]})
            columns[answer] = column
    if "label_0" in given and not columns.get("silver"):  # else a machine's labels became something else just now
        columns.pop("confidence", None)
    return columns


def answers_of(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """The columns with labels that the form asks about, and the answers."""
    places = (place for place in range(MOST_ASKED) if given.get(f"label_{place}"))
    return [(given[f"label_{place}"], given.get(f"meaning_{place}", "")) for place in places]


def roles_of(project: Project) -> tuple[str, ...]:
    return (*modality(project.modality).FIELDS, "id", "gold", "silver", "confidence")


# ---- what labels are


@dataclass(frozen=True)
class Question:
    """The question what the labels of a column are, and its answer."""

    column: LabelColumn
    answer: str  # gold, silver, metadata; empty: not answered yet

    @property
    def is_open(self) -> bool:
        """Whether the import waits for an answer: the column has labels of the project, and nobody said whose."""
        return self.column.is_known and not self.answer

    @property
    def meanings(self) -> list[tuple[str, Promise, Promise]]:
        return [(value, *words) for value, words in _MEANINGS.items()]

    @property
    def may_become_labels(self) -> bool:
        """Whether its names, none of which is a label of the project, could be the labels."""
        names = self.column.names
        return (
            not self.column.is_known and 1 < len(names) < N_NAMES and not any(one.name.endswith("…") for one in names)
        )

    @property
    def as_lines(self) -> str:
        """The column's names as the form of all labels takes them."""
        return "\n".join(one.name for one in self.column.names)


def question(column: LabelColumn, answers: dict[str, str]) -> Question:
    return Question(column, column.role or answers.get(column.name, ""))
