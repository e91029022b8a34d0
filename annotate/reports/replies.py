"""Decides which excerpts of failed replies a member may read: they may hint at a label, as the machine's label does."""

from django.db.models import Case, CharField, Exists, F, OuterRef, Q, QuerySet, Value, When

from annotate.access import MAY
from annotate.labeling import disputes
from annotate.models import Member, Prediction, QueueEntry, Round


def with_readable(rows: QuerySet[Prediction], member: Member) -> QuerySet[Prediction]:
    """`rows` with `readable_reply`: the excerpt if `member` manages the project and nobody is asked about the item."""
    if member.role not in MAY["manage"]:
        return rows.annotate(readable_reply=Value(None, output_field=CharField(null=True)))
    asked = QueueEntry.objects.filter(item=OuterRef("item"), round__state=Round.State.OPEN)
    disputed = disputes.undecided(member.project).filter(item=OuterRef("item"))
    is_withheld = Q(Exists(asked)) | Q(Exists(disputed))
    return rows.annotate(readable_reply=Case(When(is_withheld, then=None), default=F("reply")))
