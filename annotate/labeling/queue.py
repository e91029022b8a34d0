"""Which questions of the open round a person may be asked, as querysets; labeling/leases.py hands them out."""

from datetime import timedelta
from typing import Any

from django.db.models import BooleanField, Count, Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact

from annotate.access import MAY
from annotate.models import Annotation, Draw, Lease, Member, Project, QueueEntry, Round, SeenLabel, User
from annotate.models.project import Arm

MANY = 5  # leases: more than a page needs, which holds three and those whose answers are on their way
HOARDED = timedelta(minutes=3)  # the age at which a lease may be taken from somebody who holds more than MANY
_FIELDS = {"entry": "pk", "item": "item", "round": "round"}  # of a question, as `has_responded` names them
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

    Only active members with a role that annotates may answer, each until they have responded (`has_responded`), once
    more where a skip comes back to them (`comes_back`), and whenever they hold the question, having taken it again.
    """
    is_for_them = ~is_done(person) & ~is_left_to_others(person)
    return _open_to(person, project).filter(is_for_them | Q(_held_by(person)))


def _open_to(person: User | Value, project: Project | Value | None) -> QuerySet[QueueEntry]:
    """Open questions of open rounds in which `person` may annotate, whatever they have responded."""
    member = annotators().filter(user=person)
    rounds = _open_rounds(project).filter(Exists(member.filter(project=OuterRef("project"))))
    of_rounds = Q(round__in=rounds) if project is None else Q(round=_one(rounds))
    return QueueEntry.objects.filter(of_rounds, is_open(), item__withdrawn_at__isnull=True)


def annotators() -> QuerySet[Member]:
    """Memberships, of whatever project, under which somebody may answer questions now."""
    return Member.objects.filter(role__in=MAY["annotate"], user__is_active=True)


def is_done(person: Any) -> Q:
    """Whether a row of QueueEntry is not for `person` any more: they have responded, and it does not come back."""
    return _responded_to(person) & ~comes_back(person)


def _responded_to(person: Any) -> Q:
    return has_responded(person, **{name: OuterRef(field) for name, field in _FIELDS.items()})


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


def is_left_to_others(person: Any) -> Q:
    """Whether a row of QueueEntry is blind, `person` has seen the machine's label of its item, and others have not.

    Somebody who has not seen it can still answer it blind. Where nobody is left who could, `person` is asked, and the
    answer is not blind: it makes no blind gold, and no sample counts it.
    """
    seen = SeenLabel.objects.filter(user=person, item=OuterRef("item"))
    # Inside the row that says so, which hardly anybody has: the members are looked at for those questions alone.
    return Q(Exists(seen.filter(Exists(_not_seen()))), is_blind=True)


def _not_seen() -> QuerySet[Member]:
    """Members who could answer the question two levels further out, and have not seen the machine's label."""
    question = {name: OuterRef(OuterRef(OuterRef(field))) for name, field in _FIELDS.items()}
    others = annotators().filter(project__rounds=OuterRef(OuterRef("round")))
    seen = SeenLabel.objects.filter(user=OuterRef("user"), item=question["item"])
    return others.exclude(has_responded(OuterRef("user"), **question)).exclude(Exists(seen))


def comes_back(person: Any) -> Q:
    """Whether a row of QueueEntry that `person` skipped once is asked them again, as a condition for a query.

    That is so while no other member is left who could answer it. Skips are counted by the leases that they ended: to
    change the reason of a skip is not a second skip.
    """
    return Q(Exists(_skipped_once().filter(annotator=person))) & ~Q(Exists(_not_responded().exclude(user=person)))


def for_nobody() -> Q:
    """Whether nobody in the project can be asked a row of QueueEntry, as a condition for a query.

    All who may annotate have responded to it, and it comes back to none of them (`comes_back`).
    """
    back = annotators().filter(project__rounds=OuterRef("entry__round"), user=OuterRef("annotator"))
    return ~Q(Exists(_not_responded())) & ~Q(Exists(_skipped_once().filter(Exists(back))))


def _skipped_once() -> QuerySet[Annotation]:
    """Skips that are the current, counted response to the outer question, of people who skipped it once."""
    same = {"entry": OuterRef("entry"), "annotator": OuterRef("annotator"), "outcome": Lease.Outcome.SKIPPED}
    ended = Lease.objects.filter(**same).order_by().values("entry").annotate(n=Count("pk")).values("n")
    skips = Annotation.objects.filter(entry=OuterRef("pk"), label__isnull=True, is_current=True, is_counted=True)
    return skips.filter(Exact(Coalesce(Subquery(ended, IntegerField()), 0), 1))


def _not_responded() -> QuerySet[Member]:
    """Members who may annotate in the outer question's project and have not responded to it."""
    # One level further in than the question, so each reference to its row leads one level further out.
    question = {name: OuterRef(OuterRef(field)) for name, field in _FIELDS.items()}
    members = annotators().filter(project__rounds=OuterRef("round"))
    return members.exclude(has_responded(OuterRef("user"), **question))


def may_be_asked_again(person: User | int, entry: QueueEntry) -> bool:
    """Whether `entry` comes back to `person`, in whatever state it is; False for who may not answer any more."""
    member = annotators().filter(user=person, project__rounds=OuterRef("round"))
    return QueueEntry.objects.filter(comes_back(person), Exists(member), pk=entry.pk).exists()


def answerable(person: User | Value, project: Project | Value | None = None) -> QuerySet[QueueEntry]:
    """Askable questions that `person` can answer now: those with a free slot, and those on which they hold a lease."""
    return askable(person, project).filter(Q(n_taken__lt=F("overlap")) | Q(_held_by(person)))


def free(project: Project | Value, person: User | Value) -> QuerySet[QueueEntry]:
    """Questions with a free slot that `person` has not responded to and does not hold, in the order of asking."""
    unanswered = _open_to(person, project).exclude(_responded_to(person)).exclude(is_left_to_others(person))
    return unanswered.filter(n_taken__lt=F("overlap")).exclude(_held_by(person)).order_by("position")


def free_again(project: Project, person: User) -> QuerySet[QueueEntry]:
    """Questions with a free slot that `person` skipped and that come back to them, in the order of asking."""
    again = _open_to(person, project).filter(comes_back(person))
    return again.filter(n_taken__lt=F("overlap")).exclude(_held_by(person)).order_by("position")


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
