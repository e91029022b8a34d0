"""Withdrawing items and bringing them back."""

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

_NAMED = 10  # ids spelled out in an error
_RECORDED = 1_000  # ids written into the event


def withdraw(*, project: Project, by: User, external_ids: Sequence[str] = (), public_ids: Sequence[str] = ()) -> int:
    """Withdraw these items, all or none, and return how many; they are no longer drawn, asked, labeled or delivered.

    Importing the same content again brings them back.
    """
    access.require(by, project, to="manage")
    if not external_ids and not public_ids:
        raise InvalidInput("No item was named.")
    with transaction.atomic():
        found = {**_find(project, "external_id", external_ids), **_find(project, "public_id", public_ids)}
        changed = withdraw_rows(list(found))
        project.note_pool_change()
        record(
            "items.withdrawn",
            project=project,
            by=by,
            n_items=changed,
            items=sorted(found.values())[:_RECORDED],
        )
    return changed


@dataclass(frozen=True)
class WithdrawalImpact:
    """What withdrawing an item touches."""

    n_answers: int  # stay
    n_held: int  # leases that end
    n_open: int  # questions that are asked no more
    has_gold: bool  # stays, but leaves what is delivered


def withdrawal_impact(item: Item) -> WithdrawalImpact:
    open_ones = QueueEntry.objects.filter(item=item, state=QueueEntry.State.OPEN)
    return WithdrawalImpact(
        n_answers=Annotation.objects.filter(item=item, is_current=True, label__isnull=False).count(),
        n_held=Lease.objects.filter(entry__in=open_ones, ended_at__isnull=True).count(),
        n_open=open_ones.count(),
        has_gold=Gold.objects.current().filter(item=item).exists(),
    )


@transaction.atomic
def bring_back(*, project: Project, public_id: str, by: User) -> Item:
    """Undo a withdrawal: the item is drawn, asked and delivered again, under its external id if that is free.

    What was answered stays answered; its question that was closed meanwhile stays unresolved.
    """
    access.require(by, project, to="manage")
    item = find(project=project, public_id=public_id)
    _refuse_while_importing(project)
    if successor := Item.objects.filter(replaces=item).in_pool().first():
        raise Conflict(_("This item was replaced by %(item)s; withdraw that first.") % {"item": successor})
    # A name may have gone to another item meanwhile.
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


def _find(project: Project, field: str, names: Sequence[str]) -> dict[int, str]:
    """Public id by primary key of the pool's items with these names; NotFound names those that are none."""
    found: dict[int, str] = {}
    missing = dict.fromkeys(names)
    for part in bulk.parts(list(missing)):
        # A new import's items are hidden until it is complete, so they cannot be named either.
        rows = Item.objects.filter(project=project, **{f"{field}__in": part}).in_pool()
        for pk, public_id, name in rows.values_list("pk", "public_id", field):
            found[pk] = public_id
            missing.pop(name)
    if missing:
        named = ", ".join(repr(name) for name in list(missing)[:_NAMED])
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        raise NotFound(f"{project} has no item {named}{more} that could be withdrawn; nothing was.")
    return found
