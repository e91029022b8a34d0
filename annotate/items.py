"""Items after their import: looking for them, withdrawing, bringing back, correcting. Nothing is ever deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from annotate import access, samples
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.labeling import leases
from annotate.modalities import modality
from annotate.models import (
    Annotation,
    Gold,
    Import,
    Item,
    ItemPayload,
    Lease,
    Prediction,
    Project,
    QueueEntry,
    User,
    bulk,
)
from annotate.models.base import database_now, is_storable
from annotate.models.event import record
from models_ml import randomness

CORRECTIONS = "corrections"  # the import that corrected items come from
WINDOW = 50_000  # items that one search looks at
_NAMED = 10  # ids spelled out in an error
_RECORDED = 1_000  # ids written into the event


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


def withdraw(*, project: Project, by: User, external_ids: Sequence[str] = (), public_ids: Sequence[str] = ()) -> int:
    """Withdraw these items, all or none, and return how many; they are no longer drawn, asked, labeled or delivered.

    Importing the same content again brings them back.
    """
    access.require(by, project, to="manage")
    if not external_ids and not public_ids:
        raise InvalidInput("No item was named.")
    with transaction.atomic():
        found = {**_find(project, "external_id", external_ids), **_find(project, "public_id", public_ids)}
        changed = _withdraw(list(found))
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


def is_correctable(project: Project) -> bool:
    """Whether people can write this project's content into a form."""
    return project.modality in ("text", "pair")


def correct(*, project: Project, public_id: str, content: Mapping[str, str], by: User) -> Item:
    """A new item with this content in place of another, which is withdrawn; it takes over its external id.

    The new one has a random number, a fold and a place of its own, and belongs to a sample at once where its
    number lies behind that sample's mark. Answers and machine labels stay with the old one.
    """
    access.require(by, project, to="manage")
    if not is_correctable(project):
        raise InvalidInput(_("Items of this kind cannot be corrected here; import them again."))
    payload = _payload(project, content)
    with transaction.atomic():
        old = _correctable(project, public_id)
        content_hash = modality(project.modality).content_hash(payload)
        if same := Item.objects.filter(project=project, content_hash=content_hash).first():
            raise Conflict(_why_not_again(same, old))
        if _withdraw([old.pk]) != 1:  # questions are locked before the project, as when a round is closed
            raise Conflict(_("Somebody has just changed this item; look again."))
        source = _corrections(project, by)
        new = _insert(project, source, old, payload, content_hash)
        _finish(source)
        n_joined = samples.absorb_late(project=project)
        record(
            "item.corrected",
            project=project,
            by=by,
            old=old.public_id,
            new=new.public_id,
            n_joined_samples=n_joined,
        )
    project.refresh_from_db(fields=["next_ordinal"])
    return new


def _payload(project: Project, content: Mapping[str, str]) -> dict[str, Any]:
    """What was filled in, as the modality keeps it; forms end lines with CR LF."""
    if unknown := sorted(content.keys() - set(modality(project.modality).FIELDS)):
        raise InvalidInput(_("Items of this project have no %(field)r.") % {"field": unknown[0]})
    told = {name: content.get(name, "").replace("\r\n", "\n") for name in modality(project.modality).FIELDS}
    if not all(map(is_storable, told.values())):
        raise InvalidInput(_("The corrected item holds half a character or a NUL."))
    try:
        payload: dict[str, Any] = modality(project.modality).payload_of(told)
    except InvalidInput as error:
        raise InvalidInput(_("The corrected item cannot be used: %(reason)s.") % {"reason": error}) from None
    return payload


def _correctable(project: Project, public_id: str) -> Item:
    item = find(project=project, public_id=public_id)
    if item.withdrawn_at is not None:
        raise Conflict(_("This item was withdrawn; bring it back before you correct it."))
    if successor := Item.objects.filter(replaces=item).first():
        raise Conflict(_("This item was replaced by %(item)s before; correct that one.") % {"item": successor})
    return item


def _why_not_again(same: Item, old: Item) -> str:
    if same.pk == old.pk:
        return _("Nothing was changed.")
    if same.withdrawn_at is not None:
        return _("%(item)s has this very content and was withdrawn; bring it back instead.") % {"item": same}
    return _("%(item)s has this very content already; withdraw one of the two instead.") % {"item": same}


def _corrections(project: Project, by: User) -> Import:
    """The project's one import of corrections, held as the running one until `_finish`.

    Running, because items get the last ordinals, which an import under way takes for its own: the database
    allows one. One for all, so that withdrawing a corrected item withdraws no whole import.
    """
    busy = _("An import is under way; correct items when it is complete.")
    if project.imports.filter(state=Import.State.RUNNING).exists():
        raise Conflict(busy)
    Project.objects.select_for_update().get(pk=project.pk)  # of two corrections one waits
    source = project.imports.filter(options__kind=CORRECTIONS).first()
    try:
        with transaction.atomic():
            if source is None:
                options = {"kind": CORRECTIONS, "fields": {"gold": None, "silver": None, "confidence": None}}
                return Import.objects.create(
                    project=project, file_name=CORRECTIONS, file_sha256="", options=options, created_by=by
                )
            Import.objects.filter(pk=source.pk).update(state=Import.State.RUNNING)
            return source
    except IntegrityError:
        raise Conflict(busy) from None


def _finish(source: Import) -> None:
    moment = database_now()
    more = {"n_items": F("n_items") + 1, "cursor": F("cursor") + 1}
    Import.objects.filter(pk=source.pk).update(state=Import.State.COMPLETE, finished_at=moment, **more)


def _insert(project: Project, source: Import, old: Item, payload: dict[str, Any], content_hash: str) -> Item:
    key = bytes(project.key)
    ordinal = Project.objects.values_list("next_ordinal", flat=True).get(pk=project.pk)
    new = Item.objects.create(
        project=project,
        source=source,
        ordinal=ordinal,
        modality=old.modality,
        content_hash=content_hash,
        external_id=old.external_id,
        replaces=old,
        prn=randomness.unit_interval(key, content_hash),
        fold=randomness.fold(key, content_hash, project.n_folds),
    )
    ItemPayload.objects.create(item=new, payload=payload, metadata=old.content.metadata)
    Project.objects.filter(pk=project.pk).update(next_ordinal=ordinal + 1)
    return new


def _withdraw(keys: list[int]) -> int:
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
