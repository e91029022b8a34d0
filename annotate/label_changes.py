"""Changes the labels of a project while it lives: what follows is shown in counts before, and can be undone at first.

The rules are in docs/labels.md. A change is the next version of the labels, with what became of each earlier label;
nothing that was labeled before is rewritten.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate import access, labels, projects, samples
from annotate.errors import Conflict, InvalidInput
from annotate.labeling import gold, void_answers
from annotate.models import (
    Draft,
    Estimate,
    Export,
    Gold,
    Label,
    LabelMapping,
    LabelSchema,
    LedgerEntry,
    Prediction,
    Project,
    Round,
    Run,
    User,
)
from annotate.models.event import record
from annotate.models.schema import N_COLOURS
from annotate.projects import NewLabel
from annotate.silver import prompts
from models_ml.label_map import NO_LABEL, LabelMap
from models_ml.label_matching import Matcher

_KEYS = frozenset({"name", "definition", "examples", "was", "takes_from", "new_meaning", "machine_labels"})


@dataclass(frozen=True)
class NextLabel:
    """A label of the next version, and which of today's labels it continues."""

    label: NewLabel
    was: tuple[str, ...] = ()  # names of today's labels; none: it is new; several: they are merged
    takes_from: tuple[str, ...] | None = None  # a new label: today's labels whose items may belong to it; None: all
    has_new_meaning: bool = False  # its definition changed in meaning, not only in wording
    takes_machine_labels: bool = False  # a part of a split label: machine labels of the whole read as this one


@dataclass(frozen=True)
class Fate:
    """What becomes of one of today's labels, with how many items stand under it."""

    name: str
    becomes: tuple[str, ...]  # names in the next version; empty: retired
    reads_as: str | None  # the next label that machine labels read as; None: no valid answer
    keeps_gold: bool
    keeps_probability: bool
    n_gold: int = 0
    n_silver: int = 0


@dataclass(frozen=True)
class Preview:
    """What a change of labels does, in counts, before it is made."""

    fates: tuple[Fate, ...]  # in the order of today's labels
    added: tuple[str, ...]
    n_void: int  # gold labels that become void
    n_asked_again: int  # of them, items of the samples, which the next rounds ask again; with `is_at_most` at most
    keeps_models: bool  # whether the model in use delivers before it is trained again
    is_at_most: bool = False  # while a round is open: which of its questions are of a sample is told to nobody
    n_settled: int = field(default=0)  # disputes that the gold rule settles, because the labels at odds are one now

    @property
    def changes_anything(self) -> bool:
        """Whether any label's gold, silver or name would read otherwise."""
        same = all(fate.becomes == (fate.name,) and fate.keeps_gold for fate in self.fates)
        return not (same and not self.added)


def parse(data: object, current: LabelSchema) -> list[NextLabel]:
    """The next version from JSON: labels as `projects.parse_labels` takes them, each with what it was.

    Beside name, definition and examples a label may have "was" (a list of today's names; left out: the label of that
    name, however it is written), "takes_from" (a list of names), "new_meaning" and "machine_labels" (booleans).
    """
    rows: Any = data.get("labels") if isinstance(data, dict) else data
    today = {label.name: label.name for label in projects.labels_of(current)}
    new = projects.parse_labels(data, today)  # a list, by now
    return [_parsed(label, row, Matcher(today)) for label, row in zip(new, rows, strict=True)]


def preview(*, project: Project, new: Sequence[NextLabel], by: User) -> Preview:
    """What `change` would do now; InvalidInput where the plan says too little or contradicts itself."""
    access.require(by, project, to="manage")
    schema = projects.current_schema(project)
    return _preview(project, schema, new, _fates(schema, new))


@transaction.atomic
def change(*, project: Project, new: Sequence[NextLabel], by: User, base: int | None = None) -> LabelSchema:
    """Store the next version of the labels and what became of each of today's; returns today's where nothing changes.

    `base`: the version that the author edited; Conflict where somebody else saved a later one meanwhile.
    """
    access.require(by, project, to="manage")
    Project.objects.select_for_update().get(pk=project.pk)  # two versions saved at once get two numbers
    void_answers.lock_open(project)
    schema = projects.current_schema(project)
    if base not in (None, schema.version):
        raise Conflict(_("Somebody else saved other labels meanwhile. Yours are not saved yet."))
    fates = _fates(schema, new)
    if _is_same(schema, new, fates):
        return schema
    effect = _preview(project, schema, new, fates)
    following = _store(schema, new, fates, by)
    history = labels.history(following)
    void_answers.uncount(project, history)
    n_settled = gold.settle_again(project, history)
    samples.complete_samples(following, is_new=True)
    facts = {"version": following.version, "n_void": effect.n_void, "n_settled": n_settled}
    record("labels.changed", project=project, by=by, **facts, fates=[[fate.name, *fate.becomes] for fate in fates])
    return following


@transaction.atomic
def save(*, project: Project, new: Sequence[NextLabel], by: User, base: int | None = None) -> LabelSchema:
    """Store the next version: in place of today's while nothing was labeled with them, else as a change of them."""
    access.require(by, project, to="manage")
    Project.objects.select_for_update().get(pk=project.pk)  # nobody uses the labels for the first time meanwhile
    if projects.are_labels_in_use(project):
        return change(project=project, new=new, by=by, base=base)
    _fates(projects.current_schema(project), new)  # what the plan says of today's labels must be true all the same
    return projects.add_schema(project=project, labels=[one.label for one in new], by=by, base=base)


@transaction.atomic
def undo(*, project: Project, by: User, version: int | None = None) -> LabelSchema:
    """Take back the last change of labels; returns the version in force again. Conflict once anything followed it.

    `version`: the one that `by` means; Conflict where it is not the latest, for instance because it was taken back.
    """
    access.require(by, project, to="manage")
    Project.objects.select_for_update().get(pk=project.pk)
    schema = projects.current_schema(project)
    if version not in (None, schema.version):
        sentence = _("Version %(version)d of the labels is not the latest; only the latest can be taken back.")
        raise Conflict(sentence % {"version": version})
    if reason := obstacle_to_undo(schema):
        raise Conflict(reason)
    Gold.objects.filter(label__schema=schema).delete()  # what merging settled; there was no gold before
    Draft.objects.filter(label__schema=schema).update(label=None)  # the comment stays
    version, undone = schema.version, labels.history(schema)
    before = project.schemas.filter(version__lt=version).order_by("-version")[0]
    void_answers.count_again(project, undone, labels.history(before))
    _mappings_to(schema).delete()  # those of retired labels have no target that would take them along
    schema.delete()
    record("labels.change_undone", project=project, by=by, version=version)
    return before


def obstacle_to_undo(schema: LabelSchema) -> str:
    """Why the change that made `schema` cannot be taken back, as a sentence; empty where it can."""
    project, since = schema.project, schema.created_at
    if not _mappings_to(schema).exists():
        return _("There is no change of labels to take back.")
    followed = (
        (project.annotations.filter(created_at__gt=since), _("Answers were given since.")),
        (project.adjudications.filter(created_at__gt=since), _("Disputes were decided since.")),
        (LedgerEntry.objects.filter(budget__project=project, created_at__gt=since), _("Money was spent since.")),
        (project.prompts.filter(schema=schema), _("The machine was asked since.")),
        (Run.objects.filter(project=project, finished_at__gt=since), _("Long work ended since.")),
        (Run.objects.filter(project=project, state=Run.State.RUNNING), _("Long work is under way.")),
        (Round.objects.filter(project=project, opened_at__gt=since), _("A round was drawn since.")),
        (Round.objects.filter(project=project, closed_at__gt=since), _("A round was closed since.")),
        (Estimate.objects.filter(project=project, created_at__gt=since), _("Estimates were made since.")),
        (Export.objects.filter(project=project, created_at__gt=since), _("The dataset was exported since.")),
    )
    return next((sentence for rows, sentence in followed if rows.exists()), "")


def _mappings_to(schema: LabelSchema) -> QuerySet[LabelMapping]:
    """What became in `schema` of the labels of the version before; none where nothing had used those."""
    earlier = LabelSchema.objects.filter(project=schema.project, version__lt=schema.version).order_by("-version")
    return LabelMapping.objects.filter(source__schema__in=earlier[:1])


def _fates(schema: LabelSchema, new: Sequence[NextLabel]) -> list[Fate]:
    """What becomes of each label of `schema`, by the table of docs/labels.md."""
    today = projects.labels_of(schema)
    projects.check_labels([one.label for one in new], _all(today))
    _check_names({label.name for label in today}, new)
    taken = {name for one in new if not one.was for name in (_all(today) if one.takes_from is None else one.takes_from)}
    return [_fate(label.name, [one for one in new if label.name in one.was], label.name in taken) for label in today]


def _all(today: Sequence[Label]) -> list[str]:
    return [label.name for label in today]


def _check_names(today: set[str], new: Sequence[NextLabel]) -> None:
    for one in new:
        for name in (*one.was, *(one.takes_from or ())):
            if name not in today:
                raise InvalidInput(_("There is no label %(name)r now.") % {"name": name})
        if one.takes_from is not None and one.was:
            sentence = _("%(name)r continues a label; only a new label takes items from others.")
            raise InvalidInput(sentence % {"name": one.label.name})


def _fate(name: str, parts: Sequence[NextLabel], is_taken_from: bool) -> Fate:
    becomes = tuple(part.label.name for part in parts)
    if not parts:
        return Fate(name, (), None, keeps_gold=False, keeps_probability=False)
    if len(parts) == 1:
        kept = not (is_taken_from or parts[0].has_new_meaning)
        return Fate(name, becomes, becomes[0], keeps_gold=kept, keeps_probability=True)
    chosen = [part.label.name for part in parts if part.takes_machine_labels]
    if len(chosen) != 1:
        sentence = _("%(name)r is split: choose the one of its parts that machine labels read as.")
        raise InvalidInput(sentence % {"name": name})
    return Fate(name, becomes, chosen[0], keeps_gold=False, keeps_probability=False)


def is_today(*, project: Project, new: Sequence[NextLabel]) -> bool:
    """Whether `change` would make no new version, because `new` is what the project has."""
    schema = projects.current_schema(project)
    return _is_same(schema, new, _fates(schema, new))


def _is_same(schema: LabelSchema, new: Sequence[NextLabel], fates: Sequence[Fate]) -> bool:
    """Whether the next version would be today's again, to the letter."""
    today = [NewLabel(row.name, row.definition, tuple(row.examples)) for row in projects.labels_of(schema)]
    return [one.label for one in new] == today and all(
        fate.becomes == (fate.name,) and fate.keeps_gold for fate in fates
    )


def _preview(project: Project, schema: LabelSchema, new: Sequence[NextLabel], fates: Sequence[Fate]) -> Preview:
    history = labels.history(schema)
    step = _step(new, fates)
    n_gold, n_silver = _gold_counts(project, history), _silver_counts(project, history)
    counted = tuple(replace(fate, n_gold=n_gold[i], n_silver=n_silver[i]) for i, fate in enumerate(fates))
    return Preview(
        fates=counted,
        added=tuple(one.label.name for one in new if not one.was),
        n_void=sum(fate.n_gold for fate in counted if not fate.keeps_gold),
        n_asked_again=samples.n_void_after(schema, step),
        keeps_models=step.keeps_models,
        is_at_most=project.rounds.filter(state=Round.State.OPEN).exists(),
        n_settled=gold.n_settled_by(project, history, step),
    )


def _step(new: Sequence[NextLabel], fates: Sequence[Fate]) -> LabelMap:
    index = {one.label.name: place for place, one in enumerate(new)}
    target = [NO_LABEL if fate.reads_as is None else index[fate.reads_as] for fate in fates]
    keeps_gold = [fate.keeps_gold for fate in fates]
    keeps_probability = [fate.keeps_probability for fate in fates]
    return LabelMap(np.array(target), np.array(keeps_gold), np.array(keeps_probability), len(new))


def _gold_counts(project: Project, history: labels.LabelHistory) -> Counter[int]:
    """How many gold labels stand under each label of today."""
    rows = Gold.objects.current().filter(project=project).values_list("label_id", flat=True)
    return Counter(history.gold_index(label) for label in rows.iterator())


def _silver_counts(project: Project, history: labels.LabelHistory) -> Counter[int]:
    """How many machine labels in force read as each label of today."""
    prompt = prompts.current_prompt(project)
    if prompt is None:
        return Counter()
    rows = Prediction.objects.current().filter(
        prompt=prompt, item__withdrawn_at__isnull=True, label_index__isnull=False
    )
    said = np.fromiter(rows.values_list("label_index", flat=True).iterator(), dtype=np.int64)
    return Counter(history.map_from(prompt.schema_id).silver(said).tolist())


def _store(schema: LabelSchema, new: Sequence[NextLabel], fates: Sequence[Fate], by: User) -> LabelSchema:
    following = LabelSchema.objects.create(
        project=schema.project, version=projects.next_version(schema.project), created_by=by
    )
    today = {label.name: label for label in projects.labels_of(schema)}
    made = Label.objects.bulk_create(_rows(following, new, today, fates))
    named = {label.name: label for label in made}
    LabelMapping.objects.bulk_create(
        LabelMapping(
            source=today[fate.name],
            target=named[fate.reads_as] if fate.reads_as is not None else None,
            keeps_gold=fate.keeps_gold,
            keeps_probability=fate.keeps_probability,
        )
        for fate in fates
    )
    return following


def _rows(
    following: LabelSchema, new: Sequence[NextLabel], today: Mapping[str, Label], fates: Sequence[Fate]
) -> list[Label]:
    """The labels of the next version. One that continues a label keeps its lasting id and its colour."""
    whole = {fate.name for fate in fates if len(fate.becomes) == 1}
    continued = [next((today[name] for name in one.was if name in whole), None) for one in new]
    taken = {label.colour for label in continued if label}
    free = [colour for colour in range(1, N_COLOURS + 1) if colour not in taken]
    rows = []
    for place, (one, before) in enumerate(zip(new, continued, strict=True)):
        fields: dict[str, Any] = projects.label_fields(one.label, place)
        if before:
            fields |= {"lasting_id": before.lasting_id, "colour": before.colour}
        elif free:
            fields["colour"] = free.pop(0)
        rows.append(Label(schema=following, **fields))
    return rows


def _parsed(label: NewLabel, row: object, today: Matcher[str]) -> NextLabel:
    facts = row if isinstance(row, dict) else {}
    if unknown := sorted(facts.keys() - _KEYS):  # a misspelt "new_meaning" would keep gold that ought to be void
        names = {"name": label.name, "unknown": ", ".join(map(str, unknown))}
        raise InvalidInput(_("Label %(name)s: nothing here is called %(unknown)s.") % names)
    same = today.find(label.name)
    takes_from = facts.get("takes_from")
    return NextLabel(
        label,
        was=_names(facts.get("was", [] if same is None else [same]), label.name, today),
        takes_from=None if takes_from is None else _names(takes_from, label.name, today),
        has_new_meaning=_yes_or_no(facts.get("new_meaning", False), label.name),
        takes_machine_labels=_yes_or_no(facts.get("machine_labels", False), label.name),
    )


def _names(value: object, name: str, today: Matcher[str]) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise InvalidInput(_('Label %(name)s: "was" and "takes_from" are lists of names.') % {"name": name})
    return tuple(today.find(one) or one for one in value)


def _yes_or_no(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        sentence = _('Label %(name)s: "new_meaning" and "machine_labels" are true or false.')
        raise InvalidInput(sentence % {"name": name})
    return value
