"""Checks of rows that no seal holds yet against the events that were stored with them (S-6)."""

from collections.abc import Iterator

from django.db.models import Count, Q, TextField
from django.db.models.functions import Cast

from annotate.models import Draw, Event, Project
from annotate.models.project import Role
from annotate.verification.outcome import Finding, NotChecked

_JOINS = ("project.created", "invitation.accepted")  # whose actor becomes a member


def members_came_by_an_event(project: Project) -> Iterator[Finding]:
    """Each member made the project, accepted an invitation, or is named by an event about members."""
    events = project.events.filter(Q(kind__startswith="member.") | Q(kind__startswith="project."))
    told = "\n".join(events.annotate(text=Cast("data", TextField())).values_list("text", flat=True))
    joined = set(project.events.filter(kind__in=_JOINS).values_list("actor_id", flat=True))
    for member in project.members.select_related("user").order_by("pk"):
        if member.role == Role.OWNER and not project.events.filter(kind="project.created").exists():
            yield NotChecked("how the owner came: no event says who made the project", is_part=True)
        elif member.user_id not in joined and member.user.public_id not in told:
            yield f"no event says how {member.user.email} (member row {member.pk}) came into the project"


def draws_came_with_their_round(project: Project) -> Iterator[Finding]:
    """A round has at most as many draws of each arm as it was opened with; items that a sample holds need no other."""
    opened = Event.objects.filter(project=project, kind="round.opened").values_list("data", flat=True)
    told = {data.get("round"): data["draws"] for data in opened if "draws" in data}
    rounds = dict(project.rounds.values_list("pk", "index"))
    counts = Draw.objects.filter(project=project, round__isnull=False).order_by().values_list("round", "arm")
    for key, arm, n in counts.annotate(n=Count("pk")):
        if rounds[key] not in told:
            yield NotChecked(f"draws of the arm {arm} in round {rounds[key]}: no event says how many", is_part=True)
            continue
        planned = told[rounds[key]].get(arm, 0)
        if n > planned:
            last = Draw.objects.filter(round=key, arm=arm).select_related("item").latest("pk")
            yield (
                f"round {rounds[key]} has {n} draws of the arm {arm} and was opened with {planned}; "
                f"the last is of item {last.item.public_id}"
            )


def guidelines_came_by_an_event(project: Project) -> Iterator[Finding]:
    """Each version of the guidelines is named by the event that was stored with it."""
    told = set(project.events.filter(kind="guidelines.created").values_list("data__version", flat=True))
    for row in project.guidelines.exclude(version__in=told).order_by("version"):
        if project.is_sealed_from_start:
            yield f"no event says how version {row.version} of the guidelines (row {row.pk}) came"
        else:
            yield NotChecked(f"how version {row.version} of the guidelines came: no event says so", is_part=True)
