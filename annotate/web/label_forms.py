"""Forms of the labels: a row a label, with what became of it since the version in force; or all of them as JSON."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.forms.formsets import BaseFormSet
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate import label_changes, projects
from annotate.label_changes import NextLabel
from annotate.models import Label, LabelSchema
from annotate.projects import NewLabel
from annotate.web.forms import Form
from annotate.web.project_forms import lines_of, lines_or_json, long_text, unix_lines

MOST_ROWS = 100  # up to so many labels are edited one by one; more are pasted
PREFIX = "label"
RETIRED, INTO = "retired", "into:"
WORDING, MEANING = "wording", "meaning"
ALL, SOME = "all", "some"
_CELL = re.compile(rf"{PREFIX}-([0-9]{{1,4}})-(\w+)")


class LabelsForm(Form):
    """All labels, pasted as lines or JSON."""

    labels = long_text(
        gettext_lazy("All labels"), gettext_lazy("One per line, or JSON with definitions and examples."),
        required=True, rows=12, spellcheck="false",
    )  # fmt: skip

    def plan(self, schema: LabelSchema) -> list[NextLabel]:
        """The next version; ValidationError where the text is no JSON, InvalidInput where it makes no labels."""
        return label_changes.parse(lines_or_json(self.cleaned_data["labels"]), schema)


class LabelRow(forms.Form):
    """A label of the next version: one of today's (`was`), a part of one of today's (`part_of`), or a new one."""

    was = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    part_of = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    name = forms.CharField(
        label=gettext_lazy("Label"), required=False, max_length=100,
        widget=forms.TextInput(attrs={"class": "input w-full", "autocomplete": "off"}),
    )  # fmt: skip
    definition = long_text(gettext_lazy("What it means"), rows=2)
    examples = long_text(gettext_lazy("Examples, one per line"), rows=2)
    becomes = forms.CharField(required=False, strip=False)  # "", RETIRED, or INTO and the name of one of today's labels
    changed = forms.CharField(required=False)  # WORDING or MEANING: what of the definition
    takes = forms.CharField(required=False)  # of a new label: ALL or SOME, those ticked in takes_from

    focus = ""  # what of the row has the focus: "name", or the button "up" or "down"

    def written(self) -> list[forms.BoundField]:
        """The fields that say what the label is."""
        return [self[name] for name in ("name", "definition", "examples")]

    def is_open(self) -> bool:
        """Whether the less frequent choices are shown: one was made, or is missing."""
        return bool(self["becomes"].value() or self["changed"].value() or self.errors)

    @property
    def whole(self) -> str:
        """The label of today that this row is a part of, where that is split; else the one that it was."""
        return str(self["part_of"].value() or self["was"].value() or "")

    @property
    def into(self) -> str:
        """The label of today that this one is merged into; empty where it is not."""
        becomes = str(self["becomes"].value() or "")
        return becomes.removeprefix(INTO) if becomes.startswith(INTO) else ""

    @property
    def reads_name(self) -> str:
        """The radio buttons of all parts of one label, of which machine labels read as one."""
        return f"reads-{self.whole}"

    @property
    def reads(self) -> bool:
        """Whether machine labels of the split label read as this part."""
        return bool(self.data.get(self.reads_name) == self.prefix)

    @property
    def takes_from(self) -> list[str]:
        """Names of today's labels whose items a new label may take."""
        return list(self.data.getlist(f"{self.prefix}-takes_from")) if isinstance(self.data, QueryDict) else []


class _LabelRows(BaseFormSet):  # type: ignore[type-arg]  # Django's own class takes no parameter
    def wholes(self) -> set[str]:
        """Labels of today that are split."""
        return {str(row["part_of"].value()) for row in self if row["part_of"].value()}

    def plan(self) -> list[NextLabel]:
        """The next version. A row without a name is left out, which retires a label."""
        kept = [row for row in self._written() if row.cleaned_data["name"].strip() and _stays(row.cleaned_data)]
        merged = _merged(row.cleaned_data for row in self._written())
        wholes = {row.cleaned_data["part_of"] for row in kept} - {""}
        return [_next(row, merged, wholes) for row in kept]

    def is_complete(self, schema: LabelSchema) -> bool:
        """Whether each definition that changed says how, and each merged label goes to one that stays."""
        today = {label.name: label for label in projects.labels_of(schema)}
        kept = (row.cleaned_data for row in self._written() if row.cleaned_data["name"].strip())
        staying = {given["was"] for given in kept if _stays(given)}
        wholes = self.wholes()
        for row in self._written():
            _check(row, today, staying, wholes)
        return not any(row.errors for row in self)

    def _written(self) -> list[LabelRow]:
        return [row for row in self if row.cleaned_data]  # nothing at all was written into the others


LabelRows = forms.formset_factory(
    LabelRow, formset=_LabelRows, extra=0, max_num=MOST_ROWS, absolute_max=MOST_ROWS + 1
)  # fmt: skip


def rows_of(schema: LabelSchema) -> list[dict[str, str]]:
    return [
        {
            "was": label.name,
            "name": label.name,
            "definition": label.definition,
            "examples": "\n".join(label.examples),
        }
        for label in projects.labels_of(schema)
    ]


def labels_as_json(schema: LabelSchema, *, in_use: bool) -> str:
    """Today's labels as text to edit. Once in use each names what it was, so that a new name renames it."""
    rows = [
        {"name": label.name, "definition": label.definition, "examples": label.examples}
        | ({"was": [label.name]} if in_use else {})
        for label in projects.labels_of(schema)
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1)


def _stays(row: dict[str, Any]) -> bool:
    return not row.get("was") or not row.get("becomes")


def _merged(rows: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Names of today's labels that are merged into another, by that one."""
    merged: dict[str, list[str]] = {}
    for row in rows:
        if row.get("was") and row.get("becomes", "").startswith(INTO):
            merged.setdefault(row["becomes"].removeprefix(INTO), []).append(row["was"])
    return merged


def _next(row: LabelRow, merged: dict[str, list[str]], wholes: set[str]) -> NextLabel:
    given = row.cleaned_data
    label = NewLabel(
        given["name"].strip(), unix_lines(given["definition"]).strip(), tuple(lines_of(given["examples"]))
    )  # fmt: skip
    before = given["part_of"] or given["was"]
    if not before:
        return NextLabel(label, takes_from=None if given["takes"] != SOME else tuple(row.takes_from))
    return NextLabel(
        label,
        was=(before, *([] if given["part_of"] else merged.get(before, []))),
        has_new_meaning=given["changed"] == MEANING,
        takes_machine_labels=before in wholes and row.reads,
    )


def _check(row: LabelRow, today: dict[str, Label], staying: set[str], wholes: set[str]) -> None:
    given = row.cleaned_data
    before = today.get(given["was"])
    if before is None:
        return
    target = given["becomes"].removeprefix(INTO)
    if given["becomes"].startswith(INTO) and (target not in staying or target == before.name):
        row.add_error("becomes", _("%(name)s does not stay itself; choose one that does.") % {"name": target})
    is_other = unix_lines(given["definition"]).strip() != unix_lines(before.definition).strip()
    if _stays(given) and is_other and before.name not in wholes and given["changed"] not in (WORDING, MEANING):
        row.add_error("changed", _("What it means was edited: say which of both it is."))


# ---- rows more, moved, and split, by buttons of the form


def is_rearranged(data: QueryDict) -> bool:
    """Whether a button was pressed that only changes which rows there are, or their order."""
    return any(name in data for name in ("add", "up", "down", "split"))


def rearranged(data: QueryDict) -> tuple[QueryDict, int, str]:
    """The rows after the button that was pressed, the row where one writes on, and what has the focus there."""
    n_rows = _number(data.get(f"{PREFIX}-TOTAL_FORMS")) or 0
    order: list[int | None] = list(range(min(n_rows, MOST_ROWS)))
    for button, step in (("up", -1), ("down", 1)):
        place = _number(data.get(button))
        if place is not None and 0 <= place < len(order) and 0 <= place + step < len(order):
            order.insert(place + step, order.pop(place))
            is_at_end = place + step in (0, len(order) - 1)
            focus = button if not is_at_end else "down" if place + step == 0 else "up"
            return _in_order(data, order), place + step, focus
    split = _number(data.get("split"))
    if split is not None and split < len(order) < MOST_ROWS:
        return _split(data, order, split), split + 1, "name"
    if "add" in data and len(order) < MOST_ROWS:
        order.append(None)
    return _in_order(data, order), len(order) - 1, "name"


def _split(data: QueryDict, order: list[int | None], place: int) -> QueryDict:
    """A part more, behind the label that is split. Machine labels read as the first part until somebody says else."""
    whole = data.get(f"{PREFIX}-{place}-was", "")
    order.insert(place + 1, None)
    moved = _in_order(data, order)
    moved[f"{PREFIX}-{place + 1}-part_of"] = whole
    moved.setdefault(f"reads-{whole}", f"{PREFIX}-{place}")
    return moved


def _in_order(data: QueryDict, order: Sequence[int | None]) -> QueryDict:
    """The same form with its rows in this order; None: a row without anything in it."""
    place = {old: new for new, old in enumerate(order) if old is not None}
    moved = QueryDict(mutable=True)
    for name in data:
        cell = _CELL.fullmatch(name)
        values = data.getlist(name)
        if name.startswith("reads-"):
            values = [f"{PREFIX}-{place.get(_number(one.removeprefix(f'{PREFIX}-')) or 0, 0)}" for one in values]
        if cell and int(cell[1]) not in place:
            continue
        moved.setlist(f"{PREFIX}-{place[int(cell[1])]}-{cell[2]}" if cell else name, values)
    moved[f"{PREFIX}-TOTAL_FORMS"] = str(len(order))
    return moved


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
