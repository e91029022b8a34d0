"""Taking items out of a project: a time stamp, never a deletion."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from django.db import transaction

from annotate import access, routing
from annotate.errors import InvalidInput, NotFound
from annotate.models import Item, Project, QueueEntry, User
from annotate.models.base import database_now
from annotate.models.event import record

T = TypeVar("T")

_CHUNK = 2_000
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
        now = database_now()
        keys = list(found)
        changed = sum(
            Item.objects.filter(pk__in=part, withdrawn_at__isnull=True).update(withdrawn_at=now)
            for part in _parts(keys)
        )
        for part in _parts(keys):
            routing.close_questions(QueueEntry.objects.filter(item__in=part), now=now)
        record(
            "items.withdrawn",
            project=project,
            by=by,
            n_items=changed,
            items=sorted(found.values())[:_RECORDED],
        )
    return changed


def _find(project: Project, field: str, names: Sequence[str]) -> dict[int, str]:
    """Public id by primary key of the pool's items with these names; NotFound names those that are none."""
    found: dict[int, str] = {}
    missing = dict.fromkeys(names)
    for part in _parts(list(missing)):
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


def _parts(values: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
