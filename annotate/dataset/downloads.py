"""Records who gets machines' labels of many items at once, before the first byte: no record, no file.

What a person answers after that is marked (`Annotation.had_file`), and the marked share stands beside each estimate.
"""

from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from annotate.errors import NotRecorded
from annotate.models import DeliveredVersion, Download, Export, Import, Item, Prediction, Project, User
from annotate.models.write_lock import sqlite_write_lock


def of_file(export: Export, name: str, *, by: User) -> None:
    """Record that `by` gets this file of an export; NotRecorded if it cannot be. A manifest holds no labels."""
    if name == export.manifest:
        return
    run = export.run.public_id if export.run else export.public_id
    _record(export.delivered_version, by, Download.Kind.EXPORT, f"{run}/{name}")


def of_command(delivered: DeliveredVersion, *, by: User) -> None:
    """Record that `by` has a command on the server write this version to files; NotRecorded if it cannot be."""
    _record(delivered, by, Download.Kind.COMMAND, f"version {delivered.version}")


def of_predictions(project: Project, rows: QuerySet[Prediction], wanted: dict[str, Any], *, by: User) -> None:
    """Record that `by` gets these answers of machines as a list; NotRecorded if it cannot be.

    `wanted`: what the list was narrowed to. Each page counts as the whole list.
    """
    listed = Item.objects.filter(Exists(rows.filter(item=OuterRef("pk")).order_by()), project=project)
    last = listed.order_by("-ordinal").values_list("ordinal", flat=True).first()
    if last is not None:
        what = ", ".join(f"{name} {value}" for name, value in sorted(wanted.items()))
        _write(Download(project=project, user=by, kind=Download.Kind.PREDICTIONS, what=what, last_ordinal=last))


def of_quarantine(source: Import, *, by: User) -> None:
    """Record that `by` gets the lines of an import that made no item; NotRecorded if it cannot be.

    Such a line may have the content of an item that is there, with a machine's label beside it.
    """
    last = _last_ordinal(source)
    if may_tell(source) and last is not None and source.rejected_rows.exists():
        what = f"lines of import {source.public_id} that made no item"
        kind = Download.Kind.PREDICTIONS
        _write(Download(project=source.project, user=by, kind=kind, what=what, last_ordinal=last))


def of_import(source: Import, *, by: User) -> None:
    """Record that `by` had the machine's labels that this import brought; NotRecorded if it cannot be."""
    last = _last_ordinal(source)
    if source.options.get("fields", {}).get("silver") and last is not None:
        what, kind = f"file of import {source.public_id}", Download.Kind.PREDICTIONS
        _write(Download(project=source.project, user=by, kind=kind, what=what, last_ordinal=last))


def may_tell(source: Import) -> bool:
    """Whether lines of this import may hold machines' labels: a column of its file was said to, or looked so."""
    fields, dialect = source.options.get("fields", {}), source.options.get("dialect", {})
    return any((fields.get("silver"), fields.get("confidence"), dialect.get("export"), source.options.get("warnings")))


def had(*, person: Any, project: Any, ordinal: Any) -> QuerySet[Download]:
    """The downloads by which this person got machines' labels of the item with this ordinal.

    An item that was withdrawn at that time, and was brought back since, counts as one that the file held.
    """
    return Download.objects.filter(project=project, user=person, last_ordinal__gte=ordinal)


def _last_ordinal(source: Import) -> int | None:
    items = Item.objects.filter(project=source.project_id)
    return items.order_by("-ordinal").values_list("ordinal", flat=True).first()


def _record(delivered: DeliveredVersion, by: User, kind: str, what: str) -> None:
    project, last = delivered.project, delivered.last_ordinal
    if last >= 0:  # a file of an empty pool holds no item
        _write(Download(project=project, user=by, kind=kind, what=what, last_ordinal=last))


def _write(row: Download) -> None:
    same = {name: getattr(row, name) for name in ("project", "user", "kind", "what", "last_ordinal")}
    try:
        if Download.objects.filter(**same).exists():
            return
        with sqlite_write_lock(), transaction.atomic():
            Download.objects.bulk_create([row], ignore_conflicts=True)
    except DatabaseError:
        raise NotRecorded(
            _("Nothing was sent: who gets the machines' labels is recorded first, and that was not possible now.")
        ) from None
