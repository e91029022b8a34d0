"""What storing one answer needs to know, in two queries: the leased question, and all answers to its item."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    DateTimeField,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext as _

from annotate.access import MAY
from annotate.dataset import downloads
from annotate.errors import AccessDenied, NotFound
from annotate.labeling import queue, slots
from annotate.labels import Reading
from annotate.models import (
    Annotation,
    Draft,
    Draw,
    Gold,
    GuidelineVersion,
    Label,
    LabelSchema,
    Lease,
    Member,
    Project,
    QueueEntry,
    SeenLabel,
    User,
)
from annotate.models.compiled import CompiledQuery
from annotate.models.project import Arm, SuggestionPolicy


@dataclass(frozen=True)
class AnswerContext:
    """One person's lease on one question, with the facts around it as they are at `now`."""

    lease: Lease
    project: Project
    person: User
    now: datetime
    role: str | None
    is_trusted: bool
    schema_id: int  # of the labels in force
    label_id: int | None  # the label at the `index` that `load` was given, of the version of the labels that was shown
    label_schema_id: int | None  # the version that it belongs to
    guidelines_id: int | None
    has_seen: bool  # the person has seen the machine's label of the item, or why this question was drawn
    had_file: bool  # the person has got a file or a list with the machine's label of the item
    has_draft: bool
    has_gold: bool  # the item has current gold, of whatever origin
    origin: str  # the arm that gold of this item would be credited to, see `first_arm`

    @property
    def entry(self) -> QueueEntry:
        return self.lease.entry

    @property
    def is_audited(self) -> bool:
        return self.origin == Arm.AUDIT

    @cached_property
    def reading(self) -> Reading:
        """How labels of earlier versions read under the labels in force."""
        return Reading(self.schema_id)

    def under(self, schema_id: int) -> "AnswerContext":
        """The same question where other labels are in force by now."""
        return replace(self, schema_id=schema_id)

    def require_annotator(self) -> None:
        """Refuse whoever may not annotate in the project, as access.require does, but without a query."""
        if self.role is None:
            raise NotFound(_("There is no project %(slug)s.") % {"slug": repr(self.project.slug)})
        if self.role not in MAY["annotate"]:
            raise AccessDenied(
                _("%(person)s is %(role)s in %(project)s and may not annotate.")
                % {"person": self.person, "role": self.role, "project": self.project}
            )


@dataclass(frozen=True)
class Answers:
    """All answers to an item, the oldest first, and the ids of those annotators who are trusted."""

    rows: tuple[Annotation, ...] = ()
    trusted: frozenset[int] = field(default_factory=frozenset)
    schemas: Mapping[int, int | None] = field(default_factory=dict)  # by id of a label: the version it belongs to

    def plus(self, annotation: Annotation, *, is_trusted: bool, schema: int | None) -> "Answers":
        """These answers and `annotation` after them, by an annotator who is trusted or not.

        `schema`: the version of the labels that the label of `annotation` belongs to.
        """
        trusted = self.trusted | ({annotation.annotator_id} if is_trusted else set())
        schemas = {**self.schemas, annotation.label_id: schema} if annotation.label_id else self.schemas
        return Answers((*self.rows, annotation), trusted, schemas)

    def reads(self, row: Annotation, reading: Reading) -> int | None:
        """The id of the label in force that this answer reads as; None for a skip, and where a change made it void."""
        return reading.label_id(row.label_id, self.schemas.get(row.label_id or 0))

    def by(self, person: User) -> list[Annotation]:
        return [row for row in self.rows if row.annotator_id == person.pk]

    def current(self, person: User) -> Annotation | None:
        """This person's current answer to the item, a label or a skip; None if they never answered."""
        return next((row for row in reversed(self.by(person)) if row.is_current), None)

    def standing(self, *, blind: bool) -> list[Annotation]:
        """Each person's last counted answer; with `blind` their last counted blind one, even if not their last."""
        rows = (row for row in self.rows if row.is_counted and (row.is_blind or not blind))
        last = {row.annotator_id: row for row in rows}
        return list(last.values())


def load(
    *,
    lease_id: str,
    project: Project | str,
    by: User,
    index: int | None = None,
    version: int | None = None,
    now: datetime | None = None,
) -> AnswerContext | None:
    """The context of an answer under this lease, ended or not; None if the lease is not this person's in this project.

    `project` is a row or a slug; a slug spares the caller a query. `index` is the place of a label in this `version` of
    the labels (None: the one in force); the same query looks it up as `label_id`.
    """
    slug = project if isinstance(project, str) else project.slug
    place = -1 if index is None else index
    rows = _QUESTION.objects(lease=lease_id, slug=slug, person=by.pk, index=place, version=version, now=now)
    lease = next(iter(rows), None)
    if lease is None:
        return None
    names = AnswerContext.__dataclass_fields__.keys() - {"lease", "project", "person", "role"}
    return AnswerContext(
        lease=lease,
        project=lease.entry.round.project,
        person=by,
        role=lease.role if by.is_active else None,
        **{name: getattr(lease, name) for name in names},
    )


def lock(lease_id: str, by: User) -> None:
    """Lock the question of this lease; call before `load` where the context must not change until the commit.

    `answers.submit` locks after `load`, to keep its transaction short: what may change in between does not matter to a
    first answer, and the other answers it reads under the lock.
    """
    slots.lock(Lease.objects.filter(public_id=lease_id, annotator=by).values("entry"))


def others_may_answer(question: AnswerContext) -> bool:
    """Whether an active member other than this person may answer the question and has not responded yet."""
    entry = question.entry
    members = Member.objects.filter(project=question.project, role__in=MAY["annotate"], user__is_active=True)
    responded = queue.has_responded(OuterRef("user"), entry=entry, item=entry.item_id, round=entry.round_id)
    return members.exclude(user=question.person).exclude(responded).exists()


def answers(question: AnswerContext, key: str) -> tuple[Answers, Annotation | None]:
    """All answers to the question's item, and the annotation stored under `key`, which may answer another item."""
    rows: Iterable[Any] = _ANSWERS.objects(project=question.project.pk, item=question.entry.item_id, key=key)
    first = next((row for row in rows if row.idempotency_key == key), None)
    return _answers_of(row for row in rows if row.item_id == question.entry.item_id), first


def all_answers(project: Project, item: int) -> Answers:
    """All answers to an item, read without a lease: for what happens to many questions at once."""
    return _answers_of(_with_facts(Annotation.objects.filter(item=item), project))


def _with_facts(rows: QuerySet[Annotation], project: Project | Value) -> QuerySet[Annotation]:
    """The answers, oldest first, with whether their authors are trusted and the version that their labels belong to."""
    trusted = Member.objects.filter(project=project, user=OuterRef("annotator"), is_trusted=True)
    facts = {"is_trusted": Exists(trusted), "label_schema": F("label__schema")}
    return rows.annotate(**facts).order_by("revision", "pk")


def _answers_of(rows: Iterable[Any]) -> Answers:
    """Of answers that `_with_facts` gave."""
    found = tuple(rows)
    trusted = frozenset(row.annotator_id for row in found if row.is_trusted)
    return Answers(found, trusted, {row.label_id: row.label_schema for row in found if row.label_id})


def _question(*, lease: Value, slug: Value, person: Value, index: Value, version: Value, now: Value) -> QuerySet[Lease]:
    leases = Lease.objects.filter(public_id=lease, annotator=person, entry__round__project__slug=slug)
    facts = _facts(person, index, version)
    rows = leases.select_related("entry__item", "entry__round__project").annotate(**facts, now=Coalesce(now, Now()))
    return rows.order_by("pk")[:1]


def _answers(*, project: Value, item: Value, key: Value) -> QuerySet[Annotation]:
    return _with_facts(Annotation.objects.filter(Q(item=item) | Q(idempotency_key=key)), project)


_QUESTION = CompiledQuery(
    _question,
    lease=CharField(),
    slug=CharField(),
    person=BigIntegerField(),
    index=IntegerField(),
    version=IntegerField(),
    now=DateTimeField(),
)
_ANSWERS = CompiledQuery(_answers, project=BigIntegerField(), item=BigIntegerField(), key=CharField())


def _facts(by: Value, index: Value, version: Value) -> dict[str, Any]:
    project = OuterRef("entry__round__project")
    member = Member.objects.filter(project=project, user=by)
    schema = LabelSchema.objects.filter(project=project).order_by("-version").values("pk")[:1]
    # A subquery of the label's subquery, so it refers to the lease's project from two levels further in.
    current = LabelSchema.objects.filter(project=OuterRef(project)).order_by("-version").values("version")[:1]
    shown = Coalesce(version, Subquery(current))
    label = Label.objects.filter(schema__project=project, schema__version=shown, index=index)
    return {
        "role": Subquery(member.values("role")[:1]),
        "is_trusted": Exists(member.filter(is_trusted=True)),
        "schema_id": Subquery(schema),
        "label_id": Subquery(label.values("pk")[:1]),
        "label_schema_id": Subquery(label.values("schema")[:1]),
        "guidelines_id": Subquery(
            GuidelineVersion.objects.filter(project=project).order_by("-version").values("pk")[:1]
        ),
        "has_seen": Q(Exists(_looks(by))) | Q(Exists(SeenLabel.objects.filter(user=by, item=OuterRef("entry__item")))),
        "had_file": Exists(downloads.had(person=by, project=project, ordinal=OuterRef("entry__item__ordinal"))),
        "has_draft": Exists(Draft.objects.filter(entry=OuterRef("entry"), annotator=by)),
        "has_gold": Exists(Gold.objects.current().filter(item=OuterRef("entry__item"))),
        "origin": Subquery(first_arm(OuterRef("entry__item")).values("arm")[:1]),
    }


def looked(entry: Any) -> Q:
    """Leases that showed why `entry` was drawn, or the machine's label of their item; the caller filters by item."""
    saw_label = Q(entry__suggestion=SuggestionPolicy.SHOWN) | (
        Q(entry__suggestion=SuggestionPolicy.REVEALED) & Q(revealed_at__isnull=False)
    )
    return Q(entry=entry, revealed_at__isnull=False) | saw_label


def _looks(by: Value) -> QuerySet[Lease]:
    """This person's leases of any round that make an answer to the outer lease's question not blind, see `looked`.

    Of any round: whoever has seen the machine's label still knows it when the audit asks the same item later.
    """
    return Lease.objects.filter(looked(OuterRef("entry")), entry__item=OuterRef("entry__item"), annotator=by)


def first_arm(item: Any) -> QuerySet[Draw]:
    """The draws of an item, first the one whose arm its gold is credited to: audit, else random, else the latest.

    Audit comes first also where another arm drew the item in the same round: audit gold must never train, while
    training loses little by one gold label less.
    """
    rank = Case(When(arm=Arm.AUDIT, then=0), When(arm=Arm.RANDOM, then=1), default=2)
    draws = Draw.objects.filter(item=item)
    # Of other arms the latest round, which is the open one where it drew the item.
    return draws.order_by(rank, F("round").desc(nulls_last=True), "pk")
