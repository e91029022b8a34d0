"""What one answer needs to know of its question, in two queries: the question itself, and all that was said of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
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

from annotate.access import MAY
from annotate.errors import AccessDenied, NotFound
from annotate.labeling import queue, slots
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
    schema_id: int
    label_id: int | None  # of the label index that was asked for
    guidelines_id: int | None
    has_seen: bool  # the machine's answer, or why the item was drawn
    has_draft: bool
    has_gold: bool  # the item, of whatever origin
    origin: str  # the arm that the item's gold counts for

    @property
    def entry(self) -> QueueEntry:
        return self.lease.entry

    @property
    def is_audited(self) -> bool:
        return self.origin == Arm.AUDIT

    def require_annotator(self) -> None:
        """The rule of access.require, without its query."""
        if self.role is None:
            raise NotFound(f"There is no project {self.project.slug!r}.")
        if self.role not in MAY["annotate"]:
            raise AccessDenied(f"{self.person} is {self.role} in {self.project} and may not annotate.")


@dataclass(frozen=True)
class Answers:
    """All that people said of an item, oldest first, and which of them are trusted."""

    rows: tuple[Annotation, ...] = ()
    trusted: frozenset[int] = field(default_factory=frozenset)

    def plus(self, annotation: Annotation, *, is_trusted: bool) -> "Answers":
        """These and one more, which takes the place of the person's current one if it is current itself."""
        return Answers((*self.rows, annotation), self.trusted | ({annotation.annotator_id} if is_trusted else set()))

    def by(self, person: User) -> list[Annotation]:
        return [row for row in self.rows if row.annotator_id == person.pk]

    def current(self, person: User) -> Annotation | None:
        """What this person says of the item now."""
        return next((row for row in reversed(self.by(person)) if row.is_current), None)

    def standing(self, *, blind: bool) -> list[Annotation]:
        """Each person's last counted answer; with `blind` the last one given blind, though a later one was not."""
        rows = (row for row in self.rows if row.is_counted and (row.is_blind or not blind))
        last = {row.annotator_id: row for row in rows}
        return list(last.values())


def load(
    *, lease_id: str, project: Project | str, by: User, index: int | None = None, now: datetime | None = None
) -> AnswerContext | None:
    """The question of this person's lease, active or not; None if they never had such a lease here.

    `project` is a row, or the slug of one that need not be loaded before. `index` is the place of a label among
    the current ones, looked up on the way.
    """
    slug = project if isinstance(project, str) else project.slug
    wanted = -1 if index is None else index
    rows = _QUESTION.objects(lease=lease_id, slug=slug, person=by.pk, index=wanted, now=now)
    found = next(iter(rows), None)
    if found is None:
        return None
    names = AnswerContext.__dataclass_fields__.keys() - {"lease", "project", "person", "role"}
    return AnswerContext(
        lease=found,
        project=found.entry.round.project,
        person=by,
        role=found.role if by.is_active else None,
        **{name: getattr(found, name) for name in names},
    )


def lock(lease_id: str, by: User) -> None:
    """Wait for the question before anything is read of it.

    A first answer need not: what it takes from `load` cannot change in a way that matters while it waits, and all
    else it reads afterwards.
    """
    slots.lock(Lease.objects.filter(public_id=lease_id, annotator=by).values("entry"))


def others_may_answer(question: AnswerContext) -> bool:
    """Whether somebody else may answer this question and has not yet."""
    entry = question.entry
    members = Member.objects.filter(project=question.project, role__in=MAY["annotate"], user__is_active=True)
    responded = queue.has_responded(OuterRef("user"), entry=entry, item=entry.item_id, round=entry.round_id)
    return members.exclude(user=question.person).exclude(responded).exists()


def answers(question: AnswerContext, key: str) -> tuple[Answers, Annotation | None]:
    """All answers to the item, and the one that `key` was used for, whatever it answered."""
    rows: Iterable[Any] = _ANSWERS.objects(project=question.project.pk, item=question.entry.item_id, key=key)
    first = next((row for row in rows if row.idempotency_key == key), None)
    mine = tuple(row for row in rows if row.item_id == question.entry.item_id)
    return Answers(mine, frozenset(row.annotator_id for row in mine if row.is_trusted)), first


def all_answers(project: Project, item: int) -> Answers:
    """All answers to an item, read without a lease: for what happens to many questions at once."""
    trusted = Member.objects.filter(project=project, user=OuterRef("annotator"), is_trusted=True)
    rows: Iterable[Any] = (
        Annotation.objects.filter(item=item).annotate(is_trusted=Exists(trusted)).order_by("revision", "pk")
    )
    found = tuple(rows)
    return Answers(found, frozenset(row.annotator_id for row in found if row.is_trusted))


def _question(*, lease: Value, slug: Value, person: Value, index: Value, now: Value) -> QuerySet[Lease]:
    leases = Lease.objects.filter(public_id=lease, annotator=person, entry__round__project__slug=slug)
    facts = _facts(person, index)
    found = leases.select_related("entry__item", "entry__round__project").annotate(**facts, now=Coalesce(now, Now()))
    return found.order_by("pk")[:1]


def _answers(*, project: Value, item: Value, key: Value) -> QuerySet[Annotation]:
    trusted = Member.objects.filter(project=project, user=OuterRef("annotator"), is_trusted=True)
    rows = Annotation.objects.filter(Q(item=item) | Q(idempotency_key=key))
    return rows.annotate(is_trusted=Exists(trusted)).order_by("revision", "pk")


_QUESTION = CompiledQuery(
    _question,
    lease=CharField(),
    slug=CharField(),
    person=BigIntegerField(),
    index=IntegerField(),
    now=DateTimeField(),
)
_ANSWERS = CompiledQuery(_answers, project=BigIntegerField(), item=BigIntegerField(), key=CharField())


def _facts(by: Value, index: Value) -> dict[str, Any]:
    project = OuterRef("entry__round__project")
    member = Member.objects.filter(project=project, user=by)
    schema = LabelSchema.objects.filter(project=project).order_by("-version").values("pk")[:1]
    # One level further in: the label's own query asks for the schema.
    current = LabelSchema.objects.filter(project=OuterRef(project)).order_by("-version").values("pk")[:1]
    label = Label.objects.filter(schema=Subquery(current), index=index)
    return {
        "role": Subquery(member.values("role")[:1]),
        "is_trusted": Exists(member.filter(is_trusted=True)),
        "schema_id": Subquery(schema),
        "label_id": Subquery(label.values("pk")[:1]),
        "guidelines_id": Subquery(
            GuidelineVersion.objects.filter(project=project).order_by("-version").values("pk")[:1]
        ),
        "has_seen": Exists(_looks(by)),
        "has_draft": Exists(Draft.objects.filter(entry=OuterRef("entry"), annotator=by)),
        "has_gold": Exists(Gold.objects.current().filter(item=OuterRef("entry__item"))),
        "origin": Subquery(first_arm(OuterRef("entry__item")).values("arm")[:1]),
    }


def looked(entry: Any) -> Q:
    """Leases under which somebody saw why `entry` was asked, or in any round what the machine says of its item."""
    saw_label = Q(entry__suggestion=SuggestionPolicy.SHOWN) | (
        Q(entry__suggestion=SuggestionPolicy.REVEALED) & Q(revealed_at__isnull=False)
    )
    return Q(entry=entry, revealed_at__isnull=False) | saw_label


def _looks(by: Value) -> QuerySet[Lease]:
    """This person's looks at the outer lease's item.

    Whoever has seen the machine's label does not forget it when the audit asks for the same item later.
    """
    return Lease.objects.filter(looked(OuterRef("entry")), entry__item=OuterRef("entry__item"), annotator=by)


def first_arm(item: Any) -> QuerySet[Draw]:
    """The draws of an item, the one first that its gold counts for.

    An item with an audit draw gives audit gold, in doubt too (drawn by two arms in one round): what the audit
    obtained must not train, and a gold label that trains without need gains little.
    """
    rank = Case(When(arm=Arm.AUDIT, then=0), When(arm=Arm.RANDOM, then=1), default=2)
    draws = Draw.objects.filter(item=item)
    # The open round is the latest one.
    return draws.order_by(rank, F("round").desc(nulls_last=True), "pk")
