"""Which questions are disputed, and who may decide each of them."""

from typing import Any

from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, QuerySet

from annotate.access import MAY
from annotate.models import (
    Adjudication,
    Annotation,
    Draw,
    Gold,
    Label,
    LabelMapping,
    LabelSchema,
    Member,
    Project,
    QueueEntry,
    Round,
    User,
)
from annotate.models.project import Arm


def undecided(project: Project) -> QuerySet[QueueEntry]:
    """Disputed questions without a reviewer's decision, at most one for each item.

    A question is disputed if its overlap is full, or if its round was closed over labels that differ, and its item is
    not withdrawn and has no gold (an audited item: no audit gold). If a later round asks the item again, the earlier
    question is no longer disputed, unless everybody skips the later one.
    """
    gold = Gold.objects.current().filter(item=OuterRef("item"))
    is_audited = Exists(Draw.objects.filter(item=OuterRef("item"), arm=Arm.AUDIT))
    has_audit, has_other = Exists(gold.filter(origin=Arm.AUDIT)), Exists(gold.exclude(origin=Arm.AUDIT))
    later = QueueEntry.objects.filter(item=OuterRef("item"), pk__gt=OuterRef("pk"))
    state = QueueEntry.State
    closed = Q(state=state.UNRESOLVED, round__state=Round.State.CLOSED, n_different__gt=1)
    return (
        QueueEntry.objects.filter(round__project=project, item__withdrawn_at__isnull=True)
        .filter(state__in=(state.ANSWERED, state.UNRESOLVED))
        .exclude(has_audit | (~is_audited & has_other))
        .exclude(Exists(Adjudication.objects.filter(entry=OuterRef("pk"), is_current=True)))
        .exclude(Exists(later.exclude(state=state.SKIPPED)))
        .annotate(n_different=n_different(F("item")))
        .filter(Q(state=state.ANSWERED) | closed)
    )


def decidable(disputed: QuerySet[QueueEntry], by: User) -> QuerySet[QueueEntry]:
    """The disputed questions that `by` may decide: not those that they labeled and some other reviewer did not."""
    others = fresh_reviewers(OuterRef("round__project"), OuterRef("item")).exclude(user=by)
    mine = _labels_of(OuterRef("item")).filter(annotator=by)
    return disputed.exclude(Exists(mine) & Exists(others))


def fresh_reviewers(project: Any, item: Any) -> QuerySet[Member]:
    """Members who may review and have not labeled this item."""
    reviewers = Member.objects.filter(project=project, role__in=MAY["review"], user__is_active=True)
    inner = OuterRef(item) if isinstance(item, OuterRef) else item  # one subquery further in
    return reviewers.exclude(Exists(_labels_of(inner).filter(annotator=OuterRef("user"))))


def _labels_of(item: Any) -> QuerySet[Annotation]:
    return Annotation.objects.filter(item=item, label__isnull=False)


class n_different(Func):  # noqa: N801, it reads as the column that it is
    """How many different labels the current counted answers give an item, as they read under the labels in force.

    Each answer's label is followed from version to version while its gold is kept (annotate/labels.py does the same
    in memory): one query, however many versions there were. Void answers give no label.
    """

    template = f"""(
        WITH RECURSIVE reads(label) AS (
            SELECT label_id FROM {Annotation._meta.db_table}
            WHERE item_id = %(expressions)s AND is_current AND is_counted AND label_id IS NOT NULL
            UNION
            SELECT step.target_id FROM reads JOIN {LabelMapping._meta.db_table} step ON step.source_id = reads.label
            WHERE step.keeps_gold
        )
        SELECT COUNT(*) FROM reads
        JOIN {Label._meta.db_table} now ON now.id = reads.label
        JOIN {LabelSchema._meta.db_table} schema ON schema.id = now.schema_id
        WHERE NOT EXISTS (
            SELECT 1 FROM {LabelSchema._meta.db_table} later
            WHERE later.project_id = schema.project_id AND later.version > schema.version
        )
    )"""  # noqa: S608
    output_field = IntegerField()
