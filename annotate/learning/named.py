"""Items that somebody wants labeled by name: a list of ids, as a mask over the pool."""

from collections.abc import Sequence

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.errors import InvalidInput
from annotate.learning.pool import Pool
from annotate.models import Item, Project, bulk
from annotate.models.base import is_storable
from models_ml.arrays import Bools

MOST = 10_000  # ids in one list; whoever wants more asks for everything
_LONGEST = 200  # characters of an id
_MOST_NAMED = 10  # ids in an error's sentence


def check(names: Sequence[str]) -> None:
    """InvalidInput unless these may be ids of items."""
    if len(names) > MOST:
        raise InvalidInput(_("A list has at most %(most)s ids; ask for everything instead.") % {"most": f"{MOST:,}"})
    for name in names:
        if not (isinstance(name, str) and 0 < len(name) <= _LONGEST and is_storable(name)):
            raise InvalidInput(_("%(name)s is no id of an item.") % {"name": repr(name)[:_LONGEST]})


def find(project: Project, items: Pool, names: Sequence[str]) -> Bools:
    """(N,) the items of the pool with these ids: the id that an item had in its file, or else its public id.

    InvalidInput names the ids that no item of the pool has; nothing is drawn then.
    """
    check(names)
    missing = dict.fromkeys(names)
    found: set[int] = set()
    for field in ("external_id", "public_id"):
        for part in bulk.parts(list(missing)):
            rows = Item.objects.filter(project=project, **{f"{field}__in": part}).in_pool()
            for pk, name in rows.values_list("pk", field):
                found.add(pk)
                missing.pop(name)
    if missing:
        raise InvalidInput(_missing(list(missing)))
    return items.mask(found)


def _missing(names: list[str]) -> str:
    listed = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    if more > 0:
        sentence = ngettext(
            "No item of the pool has one of the ids %(ids)s and %(more)s more; no round was drawn.",
            "No item of the pool has one of the ids %(ids)s and %(more)s more; no round was drawn.",
            more,
        )
        return sentence % {"ids": listed, "more": f"{more:,}"}
    sentence = ngettext(
        "No item of the pool has the id %(ids)s; no round was drawn.",
        "No item of the pool has one of the ids %(ids)s; no round was drawn.",
        len(names),
    )
    return sentence % {"ids": listed}
