"""Checks of questions, leases and answers (I-1, I-2, I-9, S-1)."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Exists, F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from annotate.dataset import downloads
from annotate.models import Annotation, Draw, Lease, Project, QueueEntry, Round, SeenLabel
from annotate.models.project import ALWAYS_BLIND, SuggestionPolicy

# What an answer knows of its author is read when its request begins; what is recorded while it is stored is none.
_UNDER_WAY = timedelta(minutes=1)


def answers_within_overlap(project: Project) -> Iterator[str]:
    """I-2, I-9: a question's `n_taken` is its active leases plus its counted answers, and at most its overlap."""
    active = Lease.objects.filter(entry=OuterRef("pk"), ended_at__isnull=True).values("entry")
    finished = Annotation.objects.filter(
        entry=OuterRef("pk"), is_current=True, is_counted=True, label__isnull=False
    ).values("entry")
    entries = QueueEntry.objects.filter(round__project=project).annotate(
        n_active=Coalesce(Subquery(active.annotate(n=Count("pk")).values("n")), 0),
        n_finished=Coalesce(Subquery(finished.annotate(n=Count("pk")).values("n")), 0),
    )
    # An item that the same person answers again in a later round keeps one current answer, the later one.
    superseded = entries.filter(round__state=Round.State.CLOSED, n_active=0, n_finished__lt=F("n_taken"))
    wrong = entries.exclude(n_taken=F("n_active") + F("n_finished")).exclude(pk__in=superseded)
    for entry in wrong[:1]:
        yield (
            f"question {entry.position} of round {entry.round.index} counts {entry.n_taken} taken, "
            f"but has {entry.n_active} leases and {entry.n_finished} answers"
        )
    for entry in entries.filter(n_taken__gt=F("overlap"))[:1]:
        yield f"question {entry.position} of round {entry.round.index} is beyond its overlap"


def annotations_are_revisions(project: Project) -> Iterator[str]:
    """I-1, I-2: each person has one current answer or skip per item, and revisions numbered without gaps."""
    people = (
        Annotation.objects.filter(project=project)
        .values("item__public_id", "annotator__email")
        .annotate(
            n=Count("id"),
            n_current=Count("id", filter=Q(is_current=True)),
            last=Max("revision"),
        )
        .exclude(n_current=1, last=F("n"))
    )
    for row in people[:1]:
        yield (
            f"{row['annotator__email']} has {row['n_current']} current answers to item {row['item__public_id']}, "
            f"and {row['n']} revisions of which the last is number {row['last']}"
        )


def leases_end_with_their_round(project: Project) -> Iterator[str]:
    """I-2: no lease is active on a question that is unresolved or whose round is closed."""
    active = Lease.objects.filter(entry__round__project=project, ended_at__isnull=True)
    over = Q(entry__round__state=Round.State.CLOSED) | Q(entry__state=QueueEntry.State.UNRESOLVED)
    if lease := active.filter(over).first():
        yield f"lease {lease.public_id} is active, but its question is over"


def counted_answers_had_a_lease(project: Project) -> Iterator[str]:
    """I-2: for each counted answer its annotator had a lease of that question, which the answer (or a skip) ended."""
    answered_leases = Lease.objects.filter(
        entry=OuterRef("entry"),
        annotator=OuterRef("annotator"),
        outcome__in=[Lease.Outcome.ANSWERED, Lease.Outcome.SKIPPED],
    )
    counted = Annotation.objects.filter(project=project, is_counted=True, entry__isnull=False)
    if late := counted.exclude(Exists(answered_leases)).select_related("item").first():
        yield f"answer {late.public_id} to item {late.item.public_id} counts and had no lease"


def blind_arms_show_nothing(project: Project) -> Iterator[str]:
    """S-1: a question that an always blind arm drew never shows the machine's answer, not even after one's own."""
    blind = Draw.objects.filter(item=OuterRef("item"), arm__in=ALWAYS_BLIND)
    here = Exists(blind.filter(round=OuterRef("round")))
    entries = QueueEntry.objects.filter(round__project=project).exclude(suggestion=SuggestionPolicy.HIDDEN)
    if entry := entries.filter(here).select_related("round").first():
        yield f"question {entry.position} of round {entry.round.index} belongs to a blind arm and is not hidden"
    drawn = Exists(blind.filter(round=OuterRef("entry__round")))
    answers = Annotation.objects.filter(project=project).exclude(suggestion=SuggestionPolicy.HIDDEN)
    if seen := answers.filter(drawn).select_related("item").first():
        yield f"answer {seen.public_id} to item {seen.item.public_id} was given in sight of the machine's"


def who_saw_answers_as_not_blind(project: Project) -> Iterator[str]:
    """S-5: a counted answer to an item whose machine label its author had seen by itself before is not blind."""
    seen = SeenLabel.objects.filter(item=OuterRef("item"), user=OuterRef("annotator"))
    before = seen.filter(at__lt=OuterRef("created_at") - _UNDER_WAY)
    blind = Annotation.objects.filter(project=project, is_blind=True, is_counted=True, entry__isnull=False)
    if wrong := blind.filter(Exists(before)).select_related("item").first():
        yield f"answer {wrong.public_id} to item {wrong.item.public_id} is blind, and its author had seen the machine's"


def who_had_the_file_is_marked(project: Project) -> Iterator[str]:
    """S-5: answers and decisions are marked if, and only if, their author had got the machines' labels in a file."""
    answers = project.annotations.filter(entry__isnull=False)
    for rows, author in ((answers, "annotator"), (project.adjudications.all(), "created_by")):
        had = downloads.had(person=OuterRef(author), project=project, ordinal=OuterRef("item__ordinal"))
        rows = rows.select_related("item").order_by("pk")
        sure = Exists(had.filter(at__lt=OuterRef("created_at") - _UNDER_WAY))
        if wrong := rows.filter(sure, had_file=False).first():
            yield f"{wrong.public_id} on item {wrong.item.public_id} is by somebody who had the file, and is not marked"
        ever = Exists(had.filter(at__lt=OuterRef("created_at")))
        if wrong := rows.filter(~ever, had_file=True).first():
            yield f"{wrong.public_id} on item {wrong.item.public_id} is marked, and its author got no file before"
