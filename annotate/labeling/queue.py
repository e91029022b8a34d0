"""Which questions of the open round a person may be asked, as querysets; labeling/leases.py hands them out."""

from datetime import timedelta
from typing import Any

from django.db.models import BooleanField, Count, Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from annotate.access import MAY
from annotate.models import Annotation, Draw, Lease, Member, Project, QueueEntry, Round, User
from annotate.models.project import Arm

MANY = 5  # leases; a page holds three, and answers on their way
HOARDED = timedelta(minutes=3)
ENOUGH = 1_000  # free questions; whoever asks wants to know whether there are few


def of_open_round(project: Project | Value) -> QuerySet[QueueEntry]:
    return QueueEntry.objects.filter(round=_one(_open_rounds(project)))


def leases_in(project: Project) -> QuerySet[Lease]:
    """Active leases on questions of the open round, those that have run out included."""
    return Lease.objects.filter(
        entry__round__project=project, entry__round__state=Round.State.OPEN, ended_at__isnull=True
    )


def askable(person: User | Value, project: Project | Value | None = None) -> QuerySet[QueueEntry]:
    """Open questions of `project`, or without one of all projects, that `person` may answer, held by whomever.

    Only members whose role annotates may answer, and each until they have responded, see `has_responded`.
    """
    member = Member.objects.filter(user=person, role__in=MAY["annotate"], user__is_active=True)
    rounds = _open_rounds(project).filter(Exists(member.filter(project=OuterRef("project"))))
    of_rounds = Q(round__in=rounds) if project is None else Q(round=_one(rounds))
    responded = has_responded(person, entry=OuterRef("pk"), item=OuterRef("item"), round=OuterRef("round"))
    return QueueEntry.objects.filter(of_rounds, is_open(), item__withdrawn_at__isnull=True).exclude(responded)


def has_responded(person: Any, *, entry: Any, item: Any, round: Any) -> Q:
    """Whether `person` answered the question in time or skipped it, or labeled the item that it asks about again.

    A late answer was not counted: while nobody else has taken the question, its author may answer it again.
    A dispute asks for another opinion: whoever labeled the item in an earlier round has given theirs.
    """
    mine = Annotation.objects.filter(annotator=person, is_current=True, is_counted=True)
    is_disputed = Exists(Draw.objects.filter(item=item, round=round, arm=Arm.CONFLICT))
    has_labeled = Exists(mine.filter(item=item, label__isnull=False))
    return Q(Exists(mine.filter(entry=entry))) | Q(has_labeled, is_disputed)


def answerable(person: User | Value, project: Project | Value | None = None) -> QuerySet[QueueEntry]:
    """Those of the askable questions that have a free slot, or that `person` holds."""
    return askable(person, project).filter(Q(n_taken__lt=F("overlap")) | Q(_held_by(person)))


def free(project: Project | Value, person: User | Value) -> QuerySet[QueueEntry]:
    """Those of the askable questions that have a free slot and that `person` does not hold, in the order of asking."""
    return askable(person, project).filter(n_taken__lt=F("overlap")).exclude(_held_by(person)).order_by("position")


def idle_leases(project: Project, person: User, now: Any) -> QuerySet[Lease]:
    """Leases that this person could take over: never on a screen, of somebody who holds more than one.

    Or hoarded, whatever is said to be on a screen: by somebody who for minutes has held more than a page asks for.
    """
    n_held = leases_in(project).filter(annotator=OuterRef("annotator")).order_by().values("annotator")
    held = Lease.objects.filter(entry=OuterRef("entry"), annotator=person, ended_at__isnull=True)
    return (
        leases_in(project)
        .filter(entry__in=askable(person, project))
        .exclude(annotator=person)
        .exclude(Exists(held))
        .annotate(n_held=Subquery(n_held.annotate(n=Count("pk")).values("n")))
        .filter(Q(n_held__gt=1, shown_at__isnull=True) | Q(n_held__gt=MANY, granted_at__lt=now - HOARDED))
        .order_by(F("shown_at").desc(nulls_first=True), "-granted_at", "-pk")
    )


class is_open(Func):  # noqa: N801, it reads as the column that it is
    """Whether a question waits for people, with the state in the SQL's text.

    SQLite uses the index of the questions that wait only where it reads this, and not where it is told the state.
    """

    template = f"%(expressions)s = '{QueueEntry.State.OPEN}'"
    output_field = BooleanField()

    def __init__(self) -> None:
        super().__init__(F("state"))


class n_free(Func):  # noqa: N801
    """How many questions of the open round have a free slot, counted up to ENOUGH.

    Not all of them: a round of 100,000 would be read through for every question that is handed out.
    """

    template = (
        f"(SELECT COUNT(*) FROM (SELECT 1 FROM {QueueEntry._meta.db_table} q WHERE q.round_id = %(expressions)s"  # noqa: S608
        f" AND q.state = '{QueueEntry.State.OPEN}' AND q.n_taken < q.overlap LIMIT {ENOUGH}) counted)"
    )
    output_field = IntegerField()

    def __init__(self, project: Project | Value) -> None:
        super().__init__(_one(_open_rounds(project)))


def n_people(project: Project | Value, besides: User | Value) -> Coalesce:
    """How many others hold leases in the open round."""
    # By Exists and not by a join, which SQLite would begin at the questions; active leases are few.
    here = of_open_round(project).filter(pk=OuterRef("entry"))
    held = Lease.objects.filter(Exists(here), ended_at__isnull=True).exclude(annotator=besides)
    people = held.order_by().annotate(one=Value(1)).values("one").annotate(n=Count("annotator", distinct=True))
    return Coalesce(Subquery(people.values("n")), Value(0))


def _held_by(person: User | Value) -> Exists:
    return Exists(Lease.objects.filter(entry=OuterRef("pk"), annotator=person, ended_at__isnull=True))


def _open_rounds(project: Project | Value | None) -> QuerySet[Round]:
    rounds = Round.objects.filter(state=Round.State.OPEN)
    return rounds if project is None else rounds.filter(project=project)


def _one(rounds: QuerySet[Round]) -> Subquery:
    """One value and not a join: PostgreSQL then reads the questions in their order, and stops after the first few."""
    return Subquery(rounds.values("pk")[:1])
