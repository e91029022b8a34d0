"""Decides which column of a file holds which field: proposed by the columns' names, chosen by people."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from annotate.errors import InvalidInput
from annotate.formats.dialect import DELIMITERS

# Usual names of such columns, the surest first.
_TEXT = (
    "text", "sentence", "content", "review", "utterance", "question", "message", "comment", "body", "tweet", "post",
    "document", "passage", "query", "prompt", "input", "text_content", "review_text", "comment_text", "description",
    "abstract", "summary", "title", "headline", "phrase", "snippet", "remark", "remarks", "note", "notes",
)  # fmt: skip
_PAIRS = (
    ("text_a", "text_b"), ("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"), ("question1", "question2"), ("question_1", "question_2"), ("text1", "text2"),
    ("text_1", "text_2"), ("query", "document"), ("query", "passage"), ("question", "answer"), ("question", "context"),
    ("question", "sentence"), ("source", "target"), ("a", "b"), ("left", "right"),
)  # fmt: skip
_ID = ("id", "external_id", "item_id", "uid", "uuid", "guid", "key", "idx", "index", "row_id", "pairid", "pair_id")
_GOLD = ("gold", "gold_label", "label", "true_label", "ground_truth", "target", "class", "category", "truth")
_SILVER = (
    "silver", "silver_label", "predicted", "prediction", "predicted_label", "machine", "machine_label", "llm_label",
    "gpt_label", "model_label", "llm", "auto_label",
)  # fmt: skip
_CONFIDENCE = (
    "confidence", "silver_confidence", "score", "probability", "prob", "silver_probability", "predicted_probability",
)  # fmt: skip
_LABELS = ("gold", "silver", "confidence")
_IN_PAIRS = frozenset(name for pair in _PAIRS for name in pair)
_KNOWN = frozenset({*_TEXT, *_ID, *_GOLD, *_SILVER, *_CONFIDENCE}) | _IN_PAIRS
_NUMBERED = re.compile(r"column [0-9]{1,4}")  # what columns without a header are called
_MAX_WORDS = 6  # of a column's name, as far as it is recognised by its look

Chosen = Mapping[str, str | None]  # column by role: the modality's fields, id, gold, silver, confidence


@dataclass(frozen=True)
class Fields:
    """The columns of gold, silver, confidence and id, and of content fields whose column has another name."""

    gold: str | None = None
    silver: str | None = None
    confidence: str | None = None
    id: str | None = "id"
    content: dict[str, str] = field(default_factory=dict)  # column by field

    def column(self, name: str) -> str:
        """The column that holds the content field `name`."""
        return self.content.get(name, name)


def propose(names: Sequence[str], fields: Sequence[str]) -> dict[str, str | None]:
    """A column for each role (content `fields`, id, gold, silver, confidence) by the columns' names; None: no guess.

    A nested field is known by its whole path, else by its last name: `data.text` as `text`.
    """
    by_key: dict[str, str] = {}
    for name in names:
        by_key.setdefault(_key(name), name)
    for name in names:
        by_key.setdefault(_key(name.rpartition(".")[2]), name)
    proposed: dict[str, str | None] = dict(zip(fields, _content(names, by_key, len(fields)), strict=True))
    for role, known in (("id", _ID), ("gold", _GOLD), ("silver", _SILVER), ("confidence", _CONFIDENCE)):
        free = (by_key[key] for key in known if by_key.get(key) not in (None, *proposed.values()))
        proposed[role] = next(free, None)
    if not proposed["silver"]:
        proposed["confidence"] = None
    return proposed


def without_labels(proposed: Mapping[str, str | None]) -> dict[str, str | None]:
    """The proposal without columns of labels: what labels are, a person says. A name alone makes none gold."""
    return {role: None if role in _LABELS else column for role, column in proposed.items()}


def label_role(name: str) -> str | None:
    """The kind of labels that columns of this name usually hold, gold or silver; None if its name tells of none."""
    keys = {_key(name), _key(name.rpartition(".")[2])}
    if keys & set(_GOLD):
        return "gold"
    return "silver" if keys & set(_SILVER) else None


def tells_of_a_label(name: str) -> bool:
    """Whether columns of this name usually hold labels, or how sure somebody was of one."""
    keys = {_key(name), _key(name.rpartition(".")[2])}
    return label_role(name) is not None or bool(keys & set(_CONFIDENCE))


def unnamed_labels(names: Sequence[str], used: Fields, fields: Sequence[str]) -> list[str]:
    """The columns that by their names hold labels, and that nobody gave a role: they become metadata."""
    taken = {used.id, used.gold, used.silver, used.confidence, *map(used.column, fields)}
    return [name for name in names if name not in taken and label_role(name)]


def is_header(first: Sequence[str], below: Sequence[Sequence[str]], wanted: Collection[str] = ()) -> bool:
    """Whether the first row of a table seems to name its columns, and to be no row like those below it.

    `wanted`: columns that somebody chose: a row that holds one of them is a header, and a file of which only
    numbered columns are wanted has none. A single column needs one of the usual names of texts: any other line may
    be a text. Names do not occur again below themselves, as labels would.
    """
    names = [cell.strip() for cell in first]
    if wanted:
        if set(wanted) & set(names):
            return True
        if all(map(_NUMBERED.fullmatch, wanted)):
            return False
    sure = _KNOWN if len(names) > 1 else frozenset(_TEXT)
    others = [row for row in below if row != first]  # files put together have the header again as a whole
    is_repeated = [
        any(row[place].strip() == name for row in others if len(row) > place) for place, name in enumerate(names)
    ]
    if any(_key(name) in sure and not again for name, again in zip(names, is_repeated, strict=True)):
        return True
    cells = [(name, again) for name, again in zip(names, is_repeated, strict=True) if name]
    return len(cells) > 1 and not any(again or not _looks_like_name(name) for name, again in cells)


def chosen(columns: Chosen, fields: Sequence[str]) -> Fields:
    """Fields from the columns that somebody chose by role; InvalidInput for an unknown role or missing content."""
    if unknown := sorted(columns.keys() - {*fields, "id", *_LABELS}):
        raise InvalidInput(_("Items have no %(unknown)s that a column could hold.") % {"unknown": repr(unknown[0])})
    if missing := [name for name in fields if not columns.get(name)]:
        raise InvalidInput(_("Which column holds the %(missing)s? Choose one.") % {"missing": _spoken(missing[0])})
    content = {name: column for name in fields if (column := str(columns[name])) != name}
    labels = {role: columns.get(role) or None for role in _LABELS}
    return Fields(**labels, id=columns.get("id") or None, content=content)


def check(chosen: Fields, fields: Sequence[str], names: Sequence[str] | None = None) -> None:
    """InvalidInput if two roles share a column, or if a column is not among the file's `names` (None: unknown)."""
    labels = [name for name in (chosen.gold, chosen.silver, chosen.confidence) if name]
    content = [chosen.column(name) for name in fields]
    if chosen.confidence and not chosen.silver:
        raise InvalidInput(_("A confidence column needs the column of the machine's labels beside it."))
    if len(set(labels)) < len(labels):
        raise InvalidInput(_("Gold, silver and confidence must be different columns."))
    if taken := {chosen.id, *content} & set(labels):
        raise InvalidInput(
            _("The column %(taken)s is the item itself; it cannot carry labels.") % {"taken": repr(taken.pop())}
        )
    if len({chosen.id, *content}) <= len(content):
        raise InvalidInput(
            _("%(spoken)s and id must be different columns.") % {"spoken": ", ".join(map(_spoken, fields))}
        )
    for name in [*content, *labels, *([chosen.id] if chosen.id else [])] if names is not None else []:
        if name not in (names or ()):
            raise InvalidInput(
                _("There is no column %(name)s; there are: %(value)s.")
                % {"name": repr(name), "value": _listed(names or ())}
            )


def _content(names: Sequence[str], by_key: dict[str, str], n_fields: int) -> Sequence[str | None]:
    if n_fields == 2:
        return next(((by_key[a], by_key[b]) for a, b in _PAIRS if a in by_key and b in by_key), (None, None))
    if len(names) == 1 and not set(names[0]) & set(DELIMITERS):  # else several columns, split by a wrong delimiter
        return (names[0],)
    return (next((by_key[key] for key in _TEXT if key in by_key), None),)


def _looks_like_name(cell: str) -> bool:
    """Whether a cell may name a column: a few words, no number, no sentence."""
    has_letter = any(map(str.isalpha, cell))
    return has_letter and len(cell) <= 60 and len(cell.split()) <= _MAX_WORDS and cell[-1] not in ".?!"


def _key(name: str) -> str:
    """A column's name without case and punctuation: "Review text" and " review-text" are the same."""
    return re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")


def _spoken(field: str) -> str:
    return {"text_a": "first text", "text_b": "second text"}.get(field, field)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
