"""Withdraws items from the pool, and brings them back. A withdrawn item keeps its row, answers and gold."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from annotate import access, samples
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.items.lookup import find
from annotate.labeling import leases
from annotate.models import Annotation, Gold, Import, Item, Lease, Project, QueueEntry, User, bulk
from annotate.models.base import database_now
from annotate.models.event import record

_MOST_NAMED = 10  # ids in an error's sentence
_MOST_RECORDED = 1_000  # ids in the event


def withdraw(*, project: Project, by: User, external_ids: Sequence[str] = (), public_ids: Sequence[str] = ()) -> int:
    """Withdraw these items, all or none, and return how many: no longer drawn, asked, pre-labeled or delivered.

    NotFound if one of the ids names no item of the pool. Importing the same content again brings an item back.
    """
    access.require(by, project, to="manage")
    if not external_ids and not public_ids:
        raise InvalidInput(_("No item was named."))
    with transaction.atomic():
        chosen = {**_in_pool(project, "external_id", external_ids), **_in_pool(project, "public_id", public_ids)}
        changed = withdraw_rows(list(chosen))
        project.note_pool_change()
        record(
            "items.withdrawn",
            project=project,
            by=by,
            n_items=changed,
            items=sorted(chosen.values())[:_MOST_RECORDED],
        )
    return changed


@dataclass(frozen=True)
class WithdrawalImpact:
    """What withdrawing one item touches."""

    n_answers: int  # are kept
    n_held: int  # leases that end
    n_open: int  # questions that become unresolved
    has_gold: bool  # is kept, but no longer delivered


def withdrawal_impact(item: Item) -> WithdrawalImpact:
    """What would be kept and what would end if `item` were withdrawn now. Four queries."""
    open_ones = QueueEntry.objects.filter(item=item, state=QueueEntry.State.OPEN)
    return WithdrawalImpact(
        n_answers=Annotation.objects.filter(item=item, is_current=True, label__isnull=False).count(),
        n_held=Lease.objects.filter(entry__in=open_ones, ended_at__isnull=True).count(),
        n_open=open_ones.count(),
        has_gold=Gold.objects.current().filter(item=item).exists(),
    )


@transaction.atomic
def bring_back(*, project: Project, public_id: str, by: User) -> Item:
    """Undo the withdrawal of an item, which may be drawn, asked and delivered again. Its old questions stay closed.

    It gets its external id back unless another item of the pool has that id now. Conflict while an import runs, and
    if the item that replaces it is in the pool.
    """
    access.require(by, project, to="manage")
    item = find(project=project, public_id=public_id)
    _refuse_while_importing(project)
    if successor := Item.objects.filter(replaces=item).in_pool().first():
        raise Conflict(_("This item was replaced by %(item)s; withdraw that first.") % {"item": successor})
    # Another item may have been imported under the same external id meanwhile.
    holders = Item.objects.filter(project=project, external_id=item.external_id, withdrawn_at__isnull=True)
    external_id = None if item.external_id is None or holders.exists() else item.external_id
    gone = Item.objects.filter(pk=item.pk, withdrawn_at__isnull=False)
    if gone.update(withdrawn_at=None, external_id=external_id) != 1:
        raise Conflict(_("This item is in the pool already."))
    samples.absorb_late(project=project)
    record("item.brought_back", project=project, by=by, item=public_id)
    item.refresh_from_db(fields=["withdrawn_at", "external_id"])
    return item


def withdraw_rows(keys: list[int]) -> int:
    """Withdraw the items with these primary keys that are not withdrawn yet; returns how many.

    Their open questions become unresolved and leases on them end. Call it inside a transaction.
    """
    now = database_now()
    changed = sum(
        Item.objects.filter(pk__in=part, withdrawn_at__isnull=True).update(withdrawn_at=now)
        for part in bulk.parts(keys)
    )
    for part in bulk.parts(keys):
        leases.close_questions(QueueEntry.objects.filter(item__in=part), now=now)
    return changed


def _refuse_while_importing(project: Project) -> None:
    if project.imports.filter(state=Import.State.RUNNING).exists():
        raise Conflict(_("An import is under way; bring items back when it is complete."))


def _in_pool(project: Project, field: str, names: Sequence[str]) -> dict[int, str]:
    """The public id by primary key of each item of the pool that has one of these `names` in `field`.

    NotFound lists the names that no item of the pool has.
    """
    public_ids: dict[int, str] = {}
    missing = dict.fromkeys(names)
    for part in bulk.parts(list(missing)):
        # Items of an unfinished import are hidden, so nobody can withdraw them.
        rows = Item.objects.filter(project=project, **{f"{field}__in": part}).in_pool()
        for pk, public_id, name in rows.values_list("pk", "public_id", field):
            public_ids[pk] = public_id
            missing.pop(name)
    if missing:
        named = ", ".join(repr(name) for name in list(missing)[:_MOST_NAMED])
        more = f" and {len(missing) - _MOST_NAMED:,} more" if len(missing) > _MOST_NAMED else ""
        raise NotFound(
            _("%(project)s has no item %(named)s%(more)s that could be withdrawn; nothing was.")
            % {"project": project, "named": named, "more": more}
        )
    return public_ids
