"""Decides what a member may see of a machine's label of one item, for pages and API, and records that they saw it.

Of an *open blind* item (asked blind in an open round, or disputed and not decided) nobody who may answer sees what
machines say: neither label nor probability, nor why it was drawn. Whoever has seen a label of any other item answers
that item as not blind from then on. Files and lists of many items are in annotate/dataset/downloads.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Exists, Q, QuerySet
from django.utils.translation import gettext as _

from annotate import label_names, labels
from annotate.access import MAY
from annotate.errors import AccessDenied, NotRecorded
from annotate.formats.columns import tells_of_a_label
from annotate.labeling import disputes
from annotate.labels import LabelHistory
from annotate.models import (
    Gold,
    Item,
    Label,
    Lease,
    Member,
    Prediction,
    Project,
    QueueEntry,
    Round,
    SeenLabel,
    User,
    bulk,
)
from annotate.models.project import SuggestionPolicy
from annotate.models.write_lock import sqlite_write_lock
from models_ml.label_matching import Matcher


@dataclass(frozen=True)
class Visibility:
    """What a member may see of an item. Whoever may still be asked about it must answer uninfluenced."""

    people: bool  # what people answered and decided, and its gold
    machines: bool  # the machines' labels, and the arms that drew the item
    work: bool  # when it was asked, and who held it
    replies: bool = False  # what machines replied instead of a label


def is_open_blind(project: Project, item: Any) -> Q:
    """Whether `item` (a row, an id, or an OuterRef) is asked blind now, or is disputed, as a condition for a query.

    It is the same for every blind arm, so that what is withheld tells none of them.
    """
    asked = QueueEntry.objects.filter(item=item, is_blind=True, round__state=Round.State.OPEN)
    return Q(Exists(asked)) | Q(Exists(disputes.undecided(project).filter(item=item)))


def sight(item: Item, member: Member) -> Visibility:
    """What `member` may see of `item`, by role.

    Viewers, who never answer, see everything. Owners and admins see the machines' labels unless the item is open and
    blind. Reviewers and annotators never see the machines' labels, and see other people's answers only once the item
    has gold and is not being asked.
    """
    if member.role not in MAY["annotate"]:
        return Visibility(people=True, machines=True, work=True)
    if member.role in MAY["download"]:
        is_open = bool(open_blind(member.project, [item.pk]))
        replies = member.role in MAY["manage"] and not is_open
        return Visibility(people=True, machines=not is_open, work=True, replies=replies)
    is_asked = QueueEntry.objects.filter(item=item, round__state=Round.State.OPEN).exists()
    is_settled = not is_asked and Gold.objects.current().filter(item=item).exists()
    return Visibility(people=is_settled, machines=False, work=False)


def look(item: Item, member: Member, *, only_metadata: bool = False) -> Visibility:
    """As `sight`, for showing it now: a machine's label that is seen is recorded first, else it is not shown.

    `only_metadata`: what is shown is the item with its metadata, and no answer of a machine.
    """
    seen = sight(item, member)
    says = _metadata_tells(item) or not only_metadata and Prediction.objects.filter(item=item).exists()
    if not seen.machines or not says or record_seen(items=[item.pk], by=member.user):
        return seen
    return replace(seen, machines=False, replies=False)


def open_blind(project: Project, items: Iterable[int]) -> set[int]:
    """Those of these items that are open and blind."""
    wanted = list(items)
    asked = QueueEntry.objects.filter(item__in=wanted, is_blind=True, round__state=Round.State.OPEN)
    found = set(asked.values_list("item", flat=True))
    return found | set(disputes.undecided(project).filter(item__in=wanted).values_list("item", flat=True))


def require_label(item: Item, member: Member) -> None:
    """Let `member` see what machines say of this one item, recorded first.

    AccessDenied for who may answer, while the item is open and blind; NotRecorded if it cannot be recorded.
    """
    if not sight(item, member).machines:
        raise AccessDenied(_("What machines say of this item is withheld: you may still be asked about it."))
    if not record_seen(items=[item.pk], by=member.user):
        raise NotRecorded(_("Not shown: who sees a machine's label is recorded first, and that was not possible now."))


def record_seen(*, items: Iterable[int], by: User) -> bool:
    """Record that `by` sees the machine's label of these items, once each; False where that is not possible."""
    wanted = set(items)
    try:
        known = SeenLabel.objects.filter(user=by, item__in=wanted).values_list("item", flat=True)
        if new := wanted - set(known):
            with sqlite_write_lock(), transaction.atomic():
                SeenLabel.objects.bulk_create(
                    (SeenLabel(user=by, item_id=item) for item in sorted(new)), ignore_conflicts=True
                )
    except DatabaseError:
        return False
    return True


def record_shown(closed: Round) -> None:
    """Record as seen what questions showed from the start, for everybody who held them; call when a round closes."""
    leases = Lease.objects.filter(entry__round=closed, entry__suggestion=SuggestionPolicy.SHOWN)
    pairs = leases.order_by("annotator", "entry__item").values_list("annotator", "entry__item").distinct()
    rows = [SeenLabel(user_id=person, item_id=item) for person, item in pairs]
    SeenLabel.objects.bulk_create(rows, batch_size=bulk.ROWS_PER_INSERT, ignore_conflicts=True)


def seen_by(person: Any, item: Any) -> QuerySet[SeenLabel]:
    """What says that this person has seen the machine's label of this item."""
    return SeenLabel.objects.filter(user=person, item=item)


def metadata(item: Item, member: Member, seen: Visibility) -> dict[str, Any]:
    """What the item's file said besides its content, as far as `member` may see it.

    Columns that may hold a label, or how sure somebody was of it, are machines' labels as others are.
    """
    said: dict[str, Any] = item.content.metadata
    if member.role not in MAY["download"]:
        return {}
    return said if seen.machines or not said else without_labels(said, labels.current(item.project))


def without_labels(said: Mapping[str, Any], history: LabelHistory) -> dict[str, Any]:
    """The metadata without what may tell of a label: by its name, because it names one, or as a probability."""
    matcher = label_names.matcher(label for version in history.versions.values() for label in version)
    return {name: value for name, value in said.items() if not _tells(name, value, matcher)}


def _tells(name: str, value: Any, matcher: Matcher[Label]) -> bool:
    if tells_of_a_label(name):
        return True
    if isinstance(value, Mapping):
        return any(_tells(key, one, matcher) or matcher.find(key) is not None for key, one in value.items())
    if isinstance(value, list):
        return any(_tells("", one, matcher) for one in value)
    return matcher.find(value) is not None or _is_probability(value)


def _is_probability(value: Any) -> bool:
    """Whether this is a fraction of one, as a number or in a cell of a table; 0 and 1 may be anything."""
    if isinstance(value, str) and "." in value:
        try:
            value = float(value)
        except ValueError:
            return False
    return isinstance(value, float) and 0 <= value <= 1


def _metadata_tells(item: Item) -> bool:
    """Whether the item's file may have brought a label that became metadata."""
    said = item.content.metadata
    return bool(said) and len(without_labels(said, labels.current(item.project))) < len(said)
