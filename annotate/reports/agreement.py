"""How often somebody says what stands as gold without them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Exists, OuterRef

from annotate import labels
from annotate.labeling import gold as gold_rules
from annotate.models import Annotation, Gold, Member, Project
from models_ml.intervals import wilson

# Gold that no count of answers made: it judges everybody.
_JUDGED = ("imported", "adjudicated")


@dataclass(frozen=True)
class Agreement:
    """Of `n` questions that somebody answered and that have gold without them, in how many they say the same."""

    n: int = 0
    n_agreed: int = 0

    @property
    def share(self) -> float | None:
        """None where there is nothing to compare with."""
        return self.n_agreed / self.n if self.n else None

    @property
    def interval(self) -> dict[str, float] | None:
        """95 %, as if the questions were a random sample of those that this person will get."""
        return dict(zip(("low", "high"), wilson(self.n_agreed, self.n), strict=True)) if self.n else None


def with_gold(project: Project) -> dict[int, Agreement]:
    """Per user id. Gold is what was imported or adjudicated, else what the project's rule makes of the others' answers.

    One's own answer never counts for the gold it is compared with: of somebody whose answer alone makes gold the
    agreement would be 100 % whatever they say. Labels count as they read now; what a change of labels made void is
    compared with nothing. Four queries, over the questions that more than one person answered or that were judged.
    """
    reads = _reads(project)
    rows = Gold.objects.current().filter(project=project, rule__in=_JUDGED).values_list("item", "label")
    judged = {item: reads[label] for item, label in rows if label in reads}
    trusted = set(Member.objects.filter(project=project, is_trusted=True).values_list("user", flat=True))
    n, n_agreed = defaultdict[int, int](int), defaultdict[int, int](int)
    for item, given in _by_item(_comparable(project)):
        said = {person: reads[label] for person, label in given.items() if label in reads}
        for person, label in said.items():
            others = [(other, who in trusted) for who, other in said.items() if who != person]
            gold = judged.get(item, gold_rules.gold_label(project, others))
            if gold is not None:
                n[person] += 1
                n_agreed[person] += label == gold
    return {person: Agreement(n[person], n_agreed[person]) for person in n}


def _reads(project: Project) -> dict[int, int]:
    """The index that each label of any version reads as, by its primary key; void ones are left out."""
    history = labels.current(project)
    void = set(history.void_ids)
    return {label: history.gold_index(label) for label in history.label_ids if label not in void}


def _comparable(project: Project) -> Iterable[tuple[int, int, int]]:
    """(item, person, label) of all counted answers to questions that others answered too, or that were judged."""
    answers = Annotation.objects.filter(project=project, is_current=True, is_counted=True, label__isnull=False)
    others = answers.filter(item=OuterRef("item")).exclude(annotator=OuterRef("annotator"))
    judged = Gold.objects.current().filter(item=OuterRef("item"), rule__in=_JUDGED)
    found = answers.filter(Exists(others) | Exists(judged)).order_by("item")
    return found.values_list("item", "annotator", "label").iterator()  # type: ignore[return-value]


def _by_item(rows: Iterable[tuple[int, int, int]]) -> Iterable[tuple[int, dict[int, int]]]:
    said: dict[int, int] = {}
    present = None
    for item, person, label in rows:
        if present is not None and item != present:
            yield present, said
            said = {}
        present, said[person] = item, label
    if present is not None:
        yield present, said
