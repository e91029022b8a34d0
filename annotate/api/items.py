"""What is labeled: lists and single items, taking some out."""

from functools import cached_property
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request

from annotate import items, labels
from annotate.access import MAY
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Input, Output, PageQuery, PublicId, Text
from annotate.api.http.operations import operation
from annotate.api.runs import ProvenPersonOutput
from annotate.errors import NotFound
from annotate.labeling import visibility
from annotate.labels import LabelHistory
from annotate.modalities import modality
from annotate.models import Item, Project
from annotate.reports import item_history
from annotate.reports.item_history import Happening

_AT_ONCE = 1_000
_STATES = ("pool", "withdrawn", "all")


class ItemOutput(Output):
    """An item. What its file said of it besides its content is null for those who answer questions blind.

    Lists leave out metadata that may tell of a label; a single item has it, unless you may still be asked about it.
    """

    id = serializers.CharField(source="public_id")
    payload = serializers.SerializerMethodField(help_text="The fields of the project's modality.")
    external_id = serializers.SerializerMethodField()
    metadata = serializers.SerializerMethodField()
    replaces = serializers.CharField(
        source="replaces.public_id", allow_null=True, default=None, help_text="The item that this one corrects."
    )
    withdrawn_at = serializers.DateTimeField(allow_null=True)

    def get_payload(self, item: Item) -> dict[str, str]:
        fields = modality(item.modality).FIELDS
        return {field: item.content.payload.get(field, "") for field in fields}

    def get_external_id(self, item: Item) -> str | None:
        return item.external_id if self._sees_all() else None

    def get_metadata(self, item: Item) -> dict[str, Any] | None:
        if not self._sees_all():
            return None
        if (shown := getattr(item, "shown_metadata", None)) is not None:
            return shown
        said: dict[str, Any] = item.content.metadata
        return visibility.without_labels(said, self._history) if said else said

    @cached_property
    def _history(self) -> LabelHistory:
        """Read once for all rows of the answer."""
        return labels.current(self.context["member"].project)

    def _sees_all(self) -> bool:
        """What may hold a machine's label, as an export does."""
        return self.context["member"].role in MAY["download"]


class ItemQuery(PageQuery):
    state = serializers.ChoiceField(choices=_STATES, default="pool")
    external_id = serializers.CharField(max_length=200, required=False, help_text="For who may download exports.")


class WithdrawInput(Input):
    ids = serializers.ListField(child=PublicId(), max_length=_AT_ONCE, default=list)
    external_ids = serializers.ListField(child=Text(max_length=200), max_length=_AT_ONCE, default=list)


class WithdrawnOutput(Output):
    n_withdrawn = serializers.IntegerField()


class ContentInput(Input):
    content = serializers.DictField(
        child=Text(max_length=200_000, allow_blank=True, trim_whitespace=False),
        help_text="The fields of the project's modality.",
    )


class HappeningOutput(Output):
    """One thing that happened to an item; what would sway you while you may be asked about it is left out."""

    at = serializers.DateTimeField()
    kind = serializers.CharField()
    by = ProvenPersonOutput(allow_null=True)
    label = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    round = serializers.IntegerField(allow_null=True)
    other = serializers.CharField(allow_null=True, help_text="The item that it replaces, or is replaced by.")
    probability = serializers.FloatField(allow_null=True)


class ItemHistoryOutput(Output):
    results = HappeningOutput(many=True)


class Items(Endpoint):
    @operation(
        "List items",
        scope="read",
        needs="evidence",
        query=ItemQuery,
        returns=ItemOutput,
        is_paged=True,
        newest_first=False,
    )
    def get(self, request: Request) -> Any:
        """In the order in which they came in."""
        rows = visible(self.member.project)
        if self.query["state"] != "all":
            rows = rows.filter(withdrawn_at__isnull=self.query["state"] == "pool")
        if (name := self.query.get("external_id")) is None:
            return rows
        # Whoever does not see these ids does not get to guess them either.
        return rows.filter(external_id=name) if self.member.role in MAY["download"] else rows.none()


class OneItem(Endpoint):
    @operation("Read an item", scope="read", needs="evidence", returns=ItemOutput)
    def get(self, request: Request, item: str) -> Any:
        """That you have seen what a machine said of it is recorded: you answer it as not blind from then on."""
        found: Any = find(self.member.project, item)
        if self.member.role in MAY["download"]:
            seen = visibility.look(found, self.member, only_metadata=True)
            found.shown_metadata = visibility.metadata(found, self.member, seen)
        return found


class ItemHistory(Endpoint):
    @operation("Read what happened to an item", scope="read", needs="evidence", returns=ItemHistoryOutput)
    def get(self, request: Request, item: str) -> Any:
        """Oldest first. That you have seen what a machine said is recorded: you answer the item as not blind from
        then on."""
        found = items.find(project=self.member.project, public_id=item)
        told = item_history.load(found, visibility.look(found, self.member))
        return {"results": [_happening(one) for one in told]}


class Correct(Endpoint):
    @operation(
        "Correct an item",
        scope="manage",
        needs="manage",
        body=ContentInput,
        returns=ItemOutput,
        status=201,
        makes=True,
    )
    def post(self, request: Request, item: str) -> Any:
        """A new item takes its place; what was answered stays with the old one, which is withdrawn."""
        project = self.member.project
        made = items.correct(project=project, public_id=item, content=self.body["content"], by=self.me)
        return find(project, made.public_id)


class BringBack(Endpoint):
    @operation("Bring a withdrawn item back", scope="manage", needs="manage", returns=ItemOutput)
    def post(self, request: Request, item: str) -> Any:
        """Drawn, asked and delivered again, under its external id if that is free."""
        items.bring_back(project=self.member.project, public_id=item, by=self.me)
        return find(self.member.project, item)


class Withdraw(Endpoint):
    @operation(
        "Withdraw items", scope="manage", needs="manage", body=WithdrawInput, returns=WithdrawnOutput, makes=True
    )
    def post(self, request: Request) -> Any:
        """All that are named or none; they are no longer drawn, asked, labeled or delivered."""
        ids, external_ids = self.body["ids"], self.body["external_ids"]
        n = items.withdraw(project=self.member.project, by=self.me, public_ids=ids, external_ids=external_ids)
        return {"n_withdrawn": n}


def _happening(one: Happening) -> dict[str, Any]:
    """By the same words for every kind; what a kind does not know is null."""
    of_round = getattr(one.row, "round", None) or getattr(getattr(one.row, "entry", None), "round", None)
    named = getattr(one.row, "label", None)
    return {
        "at": one.at,
        "kind": one.kind,
        "by": one.by,
        "label": one.facts.get("label") or (str(named) if named else None),
        "round": of_round.index if of_round else None,
        "other": one.facts.get("other"),
        "probability": one.facts.get("p"),
    }


def visible(project: Project) -> QuerySet[Item]:
    """Items of finished imports, ready to be shown; one query for as many as there are."""
    return Item.objects.filter(project=project).visible().select_related("content", "replaces")


def find(project: Project, public_id: str) -> Item:
    found = visible(project).filter(public_id=public_id).first()
    if found is None:
        raise NotFound(_("There is no such item."))
    return found
