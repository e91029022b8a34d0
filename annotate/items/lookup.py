"""Finds items of a project: one by its public id, or many by their text and by what else exists for them."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.utils.translation import gettext as _

from annotate import labels
from annotate.errors import NotFound
from annotate.labeling import visibility
from annotate.modalities import modality
from annotate.models import Annotation, Gold, Item, Prediction, Project
from annotate.models.letter_case import Contains

WINDOW = 50_000  # ordinals that one search covers


@dataclass(frozen=True)
class Search:
    """Which items to look for: those that fulfil every condition set here."""

    text: str = ""  # occurs in the content or in the external id, in upper or lower case
    by_external_id: bool = True  # False for members who must not see external ids, which may hold a label
    state: str = ""  # "pool" or "withdrawn"; empty: both
    has: frozenset[str] = frozenset()  # keys of HAS
    source: int | None = None  # id of an import
    may_be_asked: bool = False  # by somebody who answers: `silver` finds no item that is open and blind


@dataclass(frozen=True)
class Found:
    """One page of search results, in the order of import."""

    items: list[Item]
    exact: list[Item]  # items of the whole project whose id equals the text; on the first page only
    n_looked_at: int  # ordinals that this page covered
    last: int | None  # the next page begins after this ordinal; None: there is none


HAS = ("gold", "silver", "flag")  # what an item may have: valid gold, a machine's label, a flagged answer


def search(*, project: Project, wanted: Search, after: int = -1, most: int = 50) -> Found:
    """Up to `most` matching items after the ordinal `after`. Covers at most WINDOW ordinals, however few match."""
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
    listed = {item.pk for item in exact}
    return Found([item for item in items[:most] if item.pk not in listed], exact, max(looked_at, 0), last)


def find(*, project: Project, public_id: str) -> Item:
    """The item with this public id, withdrawn or not; NotFound if there is none or its import is not complete."""
    items = Item.objects.filter(project=project, public_id=public_id).visible()
    item = items.select_related("content", "source", "replaces", "replaced_by").first()
    if item is None:
        raise NotFound(_("There is no such item."))
    item.project = project
    return item


def _has(name: str, project: Project) -> Exists:
    """The condition on an item's row that it has `name`, one of HAS; void gold and failures do not count."""
    rows: QuerySet[Any]
    if name == "gold":
        rows = Gold.objects.current().exclude(label__in=labels.current(project).void_ids)
    elif name == "silver":
        rows = Prediction.objects.current().filter(status=Prediction.Status.OK)
    else:
        rows = Annotation.objects.filter(is_current=True, is_flagged=True)
    return Exists(rows.filter(item=OuterRef("pk")))


def _narrowed(items: QuerySet[Item], wanted: Search, project: Project) -> QuerySet[Item]:
    if wanted.state:
        items = items.filter(withdrawn_at__isnull=wanted.state == "pool")
    if wanted.source is not None:
        items = items.filter(source=wanted.source)
    for name in wanted.has:
        items = items.filter(_has(name, project))
    if wanted.may_be_asked and "silver" in wanted.has:
        items = items.exclude(visibility.is_open_blind(project, OuterRef("pk")))
    if wanted.text:
        holds = Q(Contains("external_id", wanted.text)) if wanted.by_external_id else Q()
        for field in modality(project.modality).FIELDS:
            holds |= Q(Contains(KeyTextTransform(field, "content__payload"), wanted.text))
        items = items.filter(holds)
    return items


def _exact(items: QuerySet[Item], wanted: Search) -> list[Item]:
    """Items whose public id, or external id in the pool, equals the text. Both are looked up in an index."""
    by_name = items.filter(external_id=wanted.text, withdrawn_at__isnull=True) if wanted.by_external_id else ()
    return [*items.filter(public_id=wanted.text), *by_name]
