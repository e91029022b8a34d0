"""What belongs to a sample: the marks of u that only ever move one way, and the items that come to lie beyond one."""

from django.db.models import Max, Min

from annotate.models import Draw, Item, Project, Round, bulk
from annotate.models.project import Arm


def absorb_late(*, project: Project) -> int:
    """Items beyond a mark that carry no draw yet belong to that sample at once; returns how many joined."""
    project = Project.objects.get(pk=project.pk)  # the marks as they are now
    joined = 0
    if project.audit_cutoff is not None:
        joined += _join(project, Arm.AUDIT, prn__lte=project.audit_cutoff)
    if project.reference_cutoff is not None:
        joined += _join(project, Arm.RANDOM, prn__gte=project.reference_cutoff)
    return joined


def _join(project: Project, arm: str, **beyond: float) -> int:
    late = (
        Item.objects.filter(project=project, **beyond)
        .in_pool()
        .exclude(pk__in=Draw.objects.filter(project=project, arm=arm).values("item"))
    )
    draws = [
        Draw(project=project, item_id=item, arm=arm, reason="imported behind the mark")
        for item in late.values_list("id", flat=True)
    ]
    Draw.objects.bulk_create(draws, batch_size=bulk.ROWS_PER_INSERT)
    return len(draws)


def advance_cutoffs(current: Round) -> None:
    """Marks move to the end of what this round drew, and never back."""
    project = Project.objects.select_for_update().get(pk=current.project_id)
    drawn = Draw.objects.filter(round=current)
    top = drawn.filter(arm=Arm.AUDIT).aggregate(u=Max("item__prn"))["u"]
    bottom = drawn.filter(arm=Arm.RANDOM).aggregate(u=Min("item__prn"))["u"]
    if top is not None and (project.audit_cutoff is None or top > project.audit_cutoff):
        project.audit_cutoff = top
    if bottom is not None and (project.reference_cutoff is None or bottom < project.reference_cutoff):
        project.reference_cutoff = bottom
    project.save(update_fields=["audit_cutoff", "reference_cutoff"])
    current.audit_cutoff, current.reference_cutoff = project.audit_cutoff, project.reference_cutoff
