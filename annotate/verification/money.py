"""Checks of budgets and their ledgers (I-3, I-4)."""

from collections.abc import Iterator

from django.db.models import F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from annotate.models import Annotation, Budget, Item, LedgerEntry, Project


def money_adds_up(project: Project) -> Iterator[str]:
    """I-3: a budget's three sums equal a recount of its ledger entries, and together stay within its cap."""
    for budget in project.budgets.order_by("kind"):
        entries = LedgerEntry.objects.filter(budget=budget)
        reserved = entries.filter(state=LedgerEntry.State.RESERVED).aggregate(n=Sum("reserved_micros"))["n"] or 0
        ended = dict(entries.order_by().values_list("state").annotate(n=Sum("final_micros")))
        settled, written_off = ended.get(LedgerEntry.State.SETTLED, 0), ended.get(LedgerEntry.State.WRITTEN_OFF, 0)
        counted = budget.reserved_micros, budget.settled_micros, budget.written_off_micros
        if counted != (reserved, settled, written_off):
            yield (
                f"{budget} counts {counted} reserved, settled and written off; its ledger says "
                f"{(reserved, settled, written_off)}"
            )
        if budget.cap_micros is not None and sum(counted) > budget.cap_micros:
            yield f"{budget} is beyond its cap of {budget.cap_micros}: {sum(counted)}"


def each_attempt_ends_once(project: Project) -> Iterator[str]:
    """I-4: a reservation is open only as long as its run or lease; released ones cost 0, written-off ones all."""
    entries = LedgerEntry.objects.filter(budget__project=project)
    reserved = entries.filter(state=LedgerEntry.State.RESERVED)
    for kind, over in (("run", Q(run__finished_at__isnull=False)), ("lease", Q(lease__ended_at__isnull=False))):
        if entry := reserved.filter(over).first():
            yield f"ledger entry {entry.public_id} is still reserved, and its {kind} is over"
    if entry := entries.filter(state=LedgerEntry.State.RELEASED).exclude(final_micros=0).first():
        yield f"ledger entry {entry.public_id} was released and cost something"
    whole = entries.filter(state=LedgerEntry.State.WRITTEN_OFF).exclude(final_micros=F("reserved_micros"))
    if entry := whole.first():
        yield f"ledger entry {entry.public_id} was written off for something else than what was reserved"
    if entry := entries.filter(state=LedgerEntry.State.RESERVED, run__isnull=True, lease__isnull=True).first():
        yield f"ledger entry {entry.public_id} is reserved for nothing"


def people_were_paid(project: Project) -> Iterator[str]:
    """I-3 for people: item by item, the prices of the answers add up to what the ledger settled."""
    settled = LedgerEntry.objects.filter(
        item=OuterRef("pk"), budget__kind=Budget.Kind.HUMAN, state=LedgerEntry.State.SETTLED
    ).values("item")
    paid = Annotation.objects.filter(item=OuterRef("pk"), price_micros__gt=0).values("item")
    items = Item.objects.filter(project=project).annotate(
        n_settled=Coalesce(Subquery(settled.annotate(n=Sum("final_micros")).values("n")), 0),
        n_paid=Coalesce(Subquery(paid.annotate(n=Sum("price_micros")).values("n")), 0),
    )
    wrong = items.exclude(n_settled=F("n_paid")).values_list("public_id", "n_paid", "n_settled")
    for item, paid_micros, settled_micros in wrong[:1]:
        yield f"answers to item {item} were paid {paid_micros}, but the ledger settled {settled_micros}"
