"""Which questions of the open round a person may be asked, as querysets; routing decides, this only says what is."""

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
    return QueueEntry.objects.filter(round=_open_round(project))


def leases_in(project: Project) -> QuerySet[Lease]:
    """Active leases on questions of the open round, those that have run out included."""
    return Lease.objects.filter(
        entry__round__project=project, entry__round__state=Round.State.OPEN, ended_at__isnull=True
    )


def askable(project: Project | Value, person: User | Value) -> QuerySet[QueueEntry]:
    """Open questions that this person may answer and has neither answered in time nor skipped, held by whomever."""
    member = Member.objects.filter(project=project, user=person, role__in=MAY["annotate"], user__is_active=True)
    # A late answer was not counted: while nobody else has taken the question it may be answered again.
    mine = Annotation.objects.filter(annotator=person, is_current=True, is_counted=True)
    opinion = mine.filter(item=OuterRef("item"), label__isnull=False)
    # A dispute asks for another opinion: one's own, given before, is none.
    disputed = Draw.objects.filter(Exists(opinion), item=OuterRef("item"), round=OuterRef("round"), arm=Arm.CONFLICT)
    return (
        of_open_round(project)
        .filter(is_open(), Exists(member), item__withdrawn_at__isnull=True)
        .exclude(Exists(mine.filter(entry=OuterRef("pk"))))
        .exclude(Exists(disputed))
    )


def free(project: Project | Value, person: User | Value) -> QuerySet[QueueEntry]:
    """Questions with a free slot for this person, in the order of asking."""
    held = Lease.objects.filter(entry=OuterRef("pk"), annotator=person, ended_at__isnull=True)
    return askable(project, person).filter(n_taken__lt=F("overlap")).exclude(Exists(held)).order_by("position")


def idle_leases(project: Project, person: User, now: Any) -> QuerySet[Lease]:
    """Leases that this person could take over: never on a screen, of somebody who holds more than one.

    Or hoarded, whatever is said to be on a screen: by somebody who for minutes has held more than a page asks for.
    """
    n_held = leases_in(project).filter(annotator=OuterRef("annotator")).order_by().values("annotator")
    held = Lease.objects.filter(entry=OuterRef("entry"), annotator=person, ended_at__isnull=True)
    return (
        leases_in(project)
        .filter(entry__in=askable(project, person))
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
        super().__init__(_open_round(project))


def n_people(project: Project | Value, besides: User | Value) -> Coalesce:
    """How many others hold leases in the open round."""
    # By Exists and not by a join, which SQLite would begin at the questions; active leases are few.
    here = of_open_round(project).filter(pk=OuterRef("entry"))
    held = Lease.objects.filter(Exists(here), ended_at__isnull=True).exclude(annotator=besides)
    people = held.order_by().annotate(one=Value(1)).values("one").annotate(n=Count("annotator", distinct=True))
    return Coalesce(Subquery(people.values("n")), Value(0))


def held_by_me(person: User) -> Q:
    return Q(Exists(Lease.objects.filter(entry=OuterRef("pk"), annotator=person, ended_at__isnull=True)))


def _open_round(project: Project | Value) -> Subquery:
    """One value and not a join: PostgreSQL then reads the questions in their order, and stops after the first few."""
    return Subquery(Round.objects.filter(project=project, state=Round.State.OPEN).values("pk")[:1])
