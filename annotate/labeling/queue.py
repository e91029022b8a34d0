"""Which questions of the open round a person may be asked, as querysets; labeling/leases.py hands them out."""

from datetime import timedelta
from typing import Any

from django.db.models import BooleanField, Count, Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from annotate.access import MAY
from annotate.models import Annotation, Draw, Lease, Member, Project, QueueEntry, Round, User
from annotate.models.project import Arm

MANY = 5  # leases: more than a page needs, which holds three and those whose answers are on their way
HOARDED = timedelta(minutes=3)  # the age at which a lease may be taken from somebody who holds more than MANY
ENOUGH = 1_000  # free questions are counted up to here: callers only need to know whether few are left


def of_open_round(project: Project | Value) -> QuerySet[QueueEntry]:
    """All questions of the project's open round, in whatever state; none where no round is open."""
    return QueueEntry.objects.filter(round=_one(_open_rounds(project)))


def leases_in(project: Project) -> QuerySet[Lease]:
    """Active leases on questions of the open round, including those that have run out and were not ended yet."""
    return Lease.objects.filter(
        entry__round__project=project, entry__round__state=Round.State.OPEN, ended_at__isnull=True
    )


def askable(person: User | Value, project: Project | Value | None = None) -> QuerySet[QueueEntry]:
    """Open questions that `person` may answer, even if all slots are taken; without `project` of all projects.

    Only active members with a role that annotates may answer, each until they have responded (`has_responded`).
    """
    member = Member.objects.filter(user=person, role__in=MAY["annotate"], user__is_active=True)
    rounds = _open_rounds(project).filter(Exists(member.filter(project=OuterRef("project"))))
    of_rounds = Q(round__in=rounds) if project is None else Q(round=_one(rounds))
    responded = has_responded(person, entry=OuterRef("pk"), item=OuterRef("item"), round=OuterRef("round"))
    return QueueEntry.objects.filter(of_rounds, is_open(), item__withdrawn_at__isnull=True).exclude(responded)


def has_responded(person: Any, *, entry: Any, item: Any, round: Any) -> Q:
    """Whether `person` is not to be asked this question any more, as a condition for a query.

    That is so once they have a counted answer to it or skipped it. A late answer is not counted, so its author may
    answer again. A question drawn by the arm `conflict` wants another opinion, so whoever labeled its item earlier is
    not asked either.
    """
    mine = Annotation.objects.filter(annotator=person, is_current=True, is_counted=True)
    is_disputed = Exists(Draw.objects.filter(item=item, round=round, arm=Arm.CONFLICT))
    has_labeled = Exists(mine.filter(item=item, label__isnull=False))
    return Q(Exists(mine.filter(entry=entry))) | Q(has_labeled, is_disputed)


def answerable(person: User | Value, project: Project | Value | None = None) -> QuerySet[QueueEntry]:
    """Askable questions that `person` can answer now: those with a free slot, and those on which they hold a lease."""
    return askable(person, project).filter(Q(n_taken__lt=F("overlap")) | Q(_held_by(person)))


def free(project: Project | Value, person: User | Value) -> QuerySet[QueueEntry]:
    """Askable questions with a free slot on which `person` holds no lease, in the order of asking."""
    return askable(person, project).filter(n_taken__lt=F("overlap")).exclude(_held_by(person)).order_by("position")


def idle_leases(project: Project, person: User, now: Any) -> QuerySet[Lease]:
    """Other people's leases in the open round that `person` could take over, the best to take first.

    These are leases whose question was never on a screen, of people who hold more than one lease; and hoarded ones, on
    a screen or not: older than HOARDED, of people who hold more than MANY.
    """
    n_held = leases_in(project).filter(annotator=OuterRef("annotator")).order_by().values("annotator")
    own = Lease.objects.filter(entry=OuterRef("entry"), annotator=person, ended_at__isnull=True)
    return (
        leases_in(project)
        .filter(entry__in=askable(person, project))
        .exclude(annotator=person)
        .exclude(Exists(own))
        .annotate(n_held=Subquery(n_held.annotate(n=Count("pk")).values("n")))
        .filter(Q(n_held__gt=1, shown_at__isnull=True) | Q(n_held__gt=MANY, granted_at__lt=now - HOARDED))
        .order_by(F("shown_at").desc(nulls_first=True), "-granted_at", "-pk")
    )


class is_open(Func):  # noqa: N801, it reads as the column that it is
    """Whether a question is open, with the state written into the SQL instead of passed as a parameter.

    SQLite uses the partial index of open questions (`queue_waiting`) only if the SQL itself names the state.
    """

    template = f"%(expressions)s = '{QueueEntry.State.OPEN}'"
    output_field = BooleanField()

    def __init__(self) -> None:
        super().__init__(F("state"))


class n_free(Func):  # noqa: N801
    """How many open questions of the open round have a free slot, counted up to ENOUGH.

    Without that limit, handing out one question would read through a round of 100,000.
    """

    template = (
        f"(SELECT COUNT(*) FROM (SELECT 1 FROM {QueueEntry._meta.db_table} q WHERE q.round_id = %(expressions)s"  # noqa: S608
        f" AND q.state = '{QueueEntry.State.OPEN}' AND q.n_taken < q.overlap LIMIT {ENOUGH}) counted)"
    )
    output_field = IntegerField()

    def __init__(self, project: Project | Value) -> None:
        super().__init__(_one(_open_rounds(project)))


def n_people(project: Project | Value, besides: User | Value) -> Coalesce:
    """How many people other than `besides` hold active leases in the open round, as an expression for a query."""
    # By Exists and not by a join: SQLite would start a join from the many questions, not from the few active leases.
    here = of_open_round(project).filter(pk=OuterRef("entry"))
    active = Lease.objects.filter(Exists(here), ended_at__isnull=True).exclude(annotator=besides)
    people = active.order_by().annotate(one=Value(1)).values("one").annotate(n=Count("annotator", distinct=True))
    return Coalesce(Subquery(people.values("n")), Value(0))


def _held_by(person: User | Value) -> Exists:
    return Exists(Lease.objects.filter(entry=OuterRef("pk"), annotator=person, ended_at__isnull=True))


def _open_rounds(project: Project | Value | None) -> QuerySet[Round]:
    rounds = Round.objects.filter(state=Round.State.OPEN)
    return rounds if project is None else rounds.filter(project=project)


def _one(rounds: QuerySet[Round]) -> Subquery:
    """The round as one value instead of a join, so that PostgreSQL reads questions in order and stops after a few."""
    return Subquery(rounds.values("pk")[:1])
