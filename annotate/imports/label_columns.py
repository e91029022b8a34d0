"""Decides which columns of a file may hold labels. What the labels are, a person says: no name makes a column gold."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.utils.translation import ngettext

from annotate.formats import nested
from annotate.formats.columns import Chosen, label_role
from annotate.models import Label
from models_ml.label_matching import Matcher, is_empty

N_NAMES = 50  # names in a column of labels that are shown
_MANY = 200  # different values, with which a column that nobody named holds no labels
_SAMPLE = 80  # characters of a value


@dataclass(frozen=True)
class LabelSeen:
    """A name in a column of labels, and how often it occurs."""

    name: str
    n: int
    is_known: bool  # whether the project has this label


@dataclass(frozen=True)
class LabelColumn:
    """A column that may hold labels, and what is known of it."""

    name: str
    role: str | None  # gold or silver, as somebody chose; None: it becomes metadata
    suggested: str | None  # gold or silver, by its name; None where most of its values are no labels of the project
    names: tuple[LabelSeen, ...]  # the most frequent ones

    @property
    def is_known(self) -> bool:
        """Whether any of its values is a label of the project."""
        return any(one.is_known for one in self.names)


def find(
    rows: Iterable[Mapping[str, Any]],
    names: Sequence[str],
    mapping: Chosen,
    matcher: Matcher[Label],
    more: Collection[str] = (),
    *,
    is_typed: bool = True,
) -> tuple[LabelColumn, ...]:
    """The columns that may hold labels: by their names, by their values, or because somebody chose them (`more`).

    `is_typed`: whether the rows are objects, whose fields may lie in others.
    """
    roles = {column: role for role, column in mapping.items() if column}
    free = [name for name in names if roles.get(name) in (None, "gold", "silver")]
    counts: dict[str, Counter[tuple[str, bool]]] = {name: Counter() for name in free}
    for row in rows:
        for name, value in nested.values(row, counts, is_flat=not is_typed):
            if not is_empty(value) and len(counts[name]) <= _MANY:
                counts[name][shown(value), matcher.find(value) is not None] += 1
    found = (_column(name, roles.get(name), count) for name, count in counts.items())
    return tuple(
        one for one in found if one.role or one.name in more or label_role(one.name) or _are_labels(counts[one.name])
    )


def counted(count: Counter[tuple[str, bool]]) -> tuple[LabelSeen, ...]:
    """The most frequent names of a column."""
    return tuple(LabelSeen(name, n, is_known) for (name, is_known), n in count.most_common(N_NAMES))


def shown(value: Any) -> str:
    """The beginning of a value as text."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _SAMPLE else f"{text[: _SAMPLE - 1]}…"


def warning(names: Sequence[str]) -> list[str]:
    """A sentence about columns that by their names hold labels and are taken as metadata; none without such."""
    if not names:
        return []
    sentence = ngettext(
        "The column %(names)s looks like labels and is taken as metadata only: nobody said whether its labels are "
        "gold or a machine's.",
        "The columns %(names)s look like labels and are taken as metadata only: nobody said whether their labels are "
        "gold or a machine's.",
        len(names),
    )
    return [sentence % {"names": ", ".join(map(repr, names))}]


def _column(name: str, role: str | None, count: Counter[tuple[str, bool]]) -> LabelColumn:
    n_known = sum(n for (_name, is_known), n in count.items() if is_known)
    suggested = label_role(name) if 2 * n_known >= count.total() and n_known else None
    return LabelColumn(name, role, suggested, counted(count))


def _are_labels(count: Counter[tuple[str, bool]]) -> bool:
    """Whether all values are labels of the project: then the column may hold labels, whatever it is called."""
    return bool(count) and all(is_known for _name, is_known in count)
