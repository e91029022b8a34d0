"""Corrects an item: an item with the new content replaces it, since items themselves never change."""

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from annotate import access, samples
from annotate.errors import Conflict, InvalidInput
from annotate.items.lookup import find
from annotate.items.withdrawal import withdraw_rows
from annotate.modalities import modality
from annotate.models import Import, Item, ItemPayload, Project, User
from annotate.models.base import database_now, is_storable
from annotate.models.event import record
from models_ml import randomness

CORRECTIONS = "corrections"  # name of the one import per project that holds its corrected items


def is_correctable(project: Project) -> bool:
    """Whether the project's items are texts or pairs of texts, which people can type into a form."""
    return project.modality in ("text", "pair")


def correct(*, project: Project, public_id: str, content: Mapping[str, str], by: User) -> Item:
    """Withdraw an item, make one with this content that replaces it under its external id, and return the new one.

    The new item has its own random number, fold and ordinal, and joins a sample at once if its number lies beyond
    that sample's cut-off. Answers, gold and machine labels stay with the old item. Conflict if the project has an
    item with the new content, if an import is running, and if the old item is withdrawn or was replaced before.
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
        if withdraw_rows([old.pk]) != 1:  # questions are locked before the project, as in close_round
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
    """The payload of the modality from the fields of a form, whose lines end with CR LF."""
    if unknown := sorted(content.keys() - set(modality(project.modality).FIELDS)):
        raise InvalidInput(_("Items of this project have no %(field)r.") % {"field": unknown[0]})
    fields = {name: content.get(name, "").replace("\r\n", "\n") for name in modality(project.modality).FIELDS}
    if not all(map(is_storable, fields.values())):
        raise InvalidInput(_("The corrected item holds half a character or a NUL."))
    try:
        payload: dict[str, Any] = modality(project.modality).payload_of(fields)
    except InvalidInput as error:
        raise InvalidInput(_("The corrected item cannot be used: %(reason)s.") % {"reason": error}) from None
    return payload


def _correctable(project: Project, public_id: str) -> Item:
    """The item, if it can be corrected; Conflict if it is withdrawn or was replaced before."""
    item = find(project=project, public_id=public_id)
    if item.withdrawn_at is not None:
        raise Conflict(_("This item was withdrawn; bring it back before you correct it."))
    if successor := Item.objects.filter(replaces=item).first():
        raise Conflict(_("This item was replaced by %(item)s before; correct that one.") % {"item": successor})
    return item


def _why_not_again(same: Item, old: Item) -> str:
    """Why `old` cannot get the content of `same`, an item of the project that exists already."""
    if same.pk == old.pk:
        return _("Nothing was changed.")
    if same.withdrawn_at is not None:
        return _("%(item)s has this very content and was withdrawn; bring it back instead.") % {"item": same}
    return _("%(item)s has this very content already; withdraw one of the two instead.") % {"item": same}


def _corrections(project: Project, by: User) -> Import:
    """The project's import of corrections, made with the first one, in state RUNNING until `_finish`.

    RUNNING, because the database allows one running import per project, so no other import takes the same ordinals.
    Conflict if another one is running.
    """
    busy = _("An import is under way; correct items when it is complete.")
    if project.imports.filter(state=Import.State.RUNNING).exists():
        raise Conflict(busy)
    Project.objects.select_for_update().get(pk=project.pk)  # of two concurrent corrections the second waits here
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
    """Count one more item in the import of corrections and complete it."""
    moment = database_now()
    more = {"n_items": F("n_items") + 1, "cursor": F("cursor") + 1}
    Import.objects.filter(pk=source.pk).update(state=Import.State.COMPLETE, finished_at=moment, **more)


def _insert(project: Project, source: Import, old: Item, payload: dict[str, Any], content_hash: str) -> Item:
    """Store the item that replaces `old`, with the project's next ordinal."""
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
