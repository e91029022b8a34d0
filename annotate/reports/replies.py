"""Decides which excerpts of failed replies a member may read: they may hint at a label, as the machine's label does."""

from django.db.models import Case, CharField, F, OuterRef, QuerySet, Value, When

from annotate.access import MAY
from annotate.labeling import visibility
from annotate.models import Member, Prediction


def with_readable(rows: QuerySet[Prediction], member: Member) -> QuerySet[Prediction]:
    """`rows` with `readable_reply`: the excerpt if `member` manages the project and the item is not open and blind."""
    if member.role not in MAY["manage"]:
        return rows.annotate(readable_reply=Value(None, output_field=CharField(null=True)))
    is_withheld = visibility.is_open_blind(member.project, OuterRef("item"))
    return rows.annotate(readable_reply=Case(When(is_withheld, then=None), default=F("reply")))
