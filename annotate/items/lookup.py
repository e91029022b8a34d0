"""Looking for items: one by its id, or many by what they hold."""

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from annotate.errors import NotFound
from annotate.modalities import modality
from annotate.models import Annotation, Gold, Item, Prediction, Project

WINDOW = 50_000  # items that one search looks at


@dataclass(frozen=True)
class Search:
    """What is looked for: `text` in the content or an external id, and what is true of the item."""

    text: str = ""
    by_external_id: bool = True  # False for who must not see these: they may hold a label
    state: str = ""  # pool, withdrawn; empty: both
    has: frozenset[str] = frozenset()  # of HAS
    source: int | None = None  # id of an import


@dataclass(frozen=True)
class Found:
    """Items in the order of import; the search goes on after ordinal `last` where that is not None."""

    items: list[Item]
    exact: list[Item]  # whose id is the very text, wherever they stand
    n_looked_at: int
    last: int | None


HAS = {
    "gold": Exists(Gold.objects.current().filter(item=OuterRef("pk"))),
    "silver": Exists(Prediction.objects.filter(item=OuterRef("pk"))),
    "flag": Exists(Annotation.objects.filter(item=OuterRef("pk"), is_current=True, is_flagged=True)),
}


def search(*, project: Project, wanted: Search, after: int = -1, most: int = 50) -> Found:
    """Up to `most` items after the ordinal `after`; at most WINDOW items are looked at, however few fit."""
    visible = Item.objects.filter(project=project).visible().select_related("content").defer("content__metadata")
    until = after + WINDOW
    chosen = _narrowed(visible.filter(ordinal__gt=after, ordinal__lte=until), wanted, project)
    items = list(chosen.order_by("ordinal")[: most + 1])
    if len(items) > most:
        last: int | None = items[most - 1].ordinal
    else:
        last = until if until < project.next_ordinal - 1 else None
    looked_at = (last if last is not None else project.next_ordinal - 1) - after
    exact = _exact(visible, wanted) if wanted.text and after < 0 else []
    named = {item.pk for item in exact}
    return Found([item for item in items[:most] if item.pk not in named], exact, max(looked_at, 0), last)


def find(*, project: Project, public_id: str) -> Item:
    """One item that an import has brought in completely, withdrawn or not."""
    items = Item.objects.filter(project=project, public_id=public_id).visible()
    item = items.select_related("content", "source", "replaces", "replaced_by").first()
    if item is None:
        raise NotFound(_("There is no such item."))
    return item


def _narrowed(items: QuerySet[Item], wanted: Search, project: Project) -> QuerySet[Item]:
    if wanted.state:
        items = items.filter(withdrawn_at__isnull=wanted.state == "pool")
    if wanted.source is not None:
        items = items.filter(source=wanted.source)
    for name in wanted.has:
        items = items.filter(HAS[name])
    if wanted.text:
        holds = Q(external_id__icontains=wanted.text) if wanted.by_external_id else Q()
        for field in modality(project.modality).FIELDS:
            holds |= Q(**{f"content__payload__{field}__icontains": wanted.text})
        items = items.filter(holds)
    return items


def _exact(items: QuerySet[Item], wanted: Search) -> list[Item]:
    """By their ids, through an index: a public id, or the external id that an item of the pool holds."""
    named = items.filter(external_id=wanted.text, withdrawn_at__isnull=True) if wanted.by_external_id else ()
    return [*items.filter(public_id=wanted.text), *named]
