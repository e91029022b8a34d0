"""Recomputes from the rows what must stay true (docs/invariants.md); each check yields violations, naming rows."""

from collections.abc import Callable, Iterator

import numpy as np
from django.db.models import Count, Exists, F, Max, OuterRef, Q, Subquery, Sum, TextField
from django.db.models.functions import Cast, Coalesce

from annotate import files
from annotate.dataset import files as dataset_files
from annotate.errors import GoldloopError
from annotate.labeling.gold import ADJUDICATED
from annotate.learning import artefacts, delivery, estimation
from annotate.modalities import modality
from annotate.models import (
    Adjudication,
    Annotation,
    Budget,
    Connection,
    Draw,
    Estimate,
    Event,
    Gold,
    Import,
    Item,
    Lease,
    LedgerEntry,
    ModelVersion,
    Project,
    QueueEntry,
    Round,
    Run,
    RunLine,
    bulk,
)
from annotate.models.base import database_now
from annotate.models.project import ALWAYS_BLIND, Arm, SuggestionPolicy
from annotate.models.snapshot import read_snapshot
from annotate.silver import secrets
from models_ml import checkpoints, randomness

Check = Callable[[Project], Iterator[str]]


def first_problem(check: Check, project: Project) -> str | None:
    """The first thing that a check finds wrong, read at one point in time; None where all is well."""
    try:
        with read_snapshot():
            return next(check(Project.objects.get(pk=project.pk)), None)
    except GoldloopError as error:  # a damaged file is a finding
        return str(error)


def rebuild_problem(model: ModelVersion) -> str | None:
    """Train a model again and compare it with the stored one, bit by bit where its method promises that (I-7)."""
    try:
        return artefacts.rebuild_and_compare(model)
    except GoldloopError as error:
        return str(error)


def _numbers_follow_from_key(project: Project) -> Iterator[str]:
    """S-3: the key is the committed one; content hash, u and fold of every item recompute."""
    key = bytes(project.key)
    if randomness.commitment(key) != project.key_commitment:
        yield "the key is not the one that was committed to"
    items = Item.objects.filter(project=project).select_related("content").order_by("ordinal")
    for item in items.iterator(chunk_size=bulk.ROWS_PER_PAGE):
        digest = modality(item.modality).content_hash(item.content.payload)
        if digest != item.content_hash:
            yield f"item {item.public_id}: its content does not have its hash"
        if item.prn != randomness.unit_interval(key, digest):
            yield f"item {item.public_id}: u does not follow from the key"
        if item.fold != randomness.fold(key, digest, project.n_folds):
            yield f"item {item.public_id}: its fold does not follow from the key"


def _samples_are_complete(project: Project) -> Iterator[str]:
    """S-3: audit and reference are complete runs of u up to their marks, and never meet."""
    low, high = project.audit_cutoff, project.reference_cutoff
    if low is not None and high is not None and low >= high:
        yield f"the marks have crossed ({low} and {high})"
    for arm, beyond in ((Arm.AUDIT, Q(prn__lte=low)), (Arm.RANDOM, Q(prn__gte=high))):
        mark = low if arm == Arm.AUDIT else high
        drawn = Draw.objects.filter(project=project, arm=arm).exclude(round__state=Round.State.OPEN)
        inside = Item.objects.filter(project=project).filter(beyond) if mark is not None else Item.objects.none()
        missing = inside.in_pool().exclude(pk__in=drawn.values("item")).first()
        if missing:
            yield f"item {missing.public_id} lies behind the {arm} mark and is not in the sample"
        outside = drawn.exclude(item__in=inside).select_related("item").first()
        if outside:
            yield f"item {outside.item.public_id} is in the {arm} sample and lies beyond its mark"
    yield from _marks_only_move_outwards(project)


def _marks_only_move_outwards(project: Project) -> Iterator[str]:
    audit, reference = -1.0, 2.0
    for closed in project.rounds.filter(state=Round.State.CLOSED).order_by("index"):
        if closed.audit_cutoff is not None and closed.audit_cutoff < audit:
            yield f"the audit mark moved back in round {closed.index}"
        if closed.reference_cutoff is not None and closed.reference_cutoff > reference:
            yield f"the reference mark moved back in round {closed.index}"
        audit = closed.audit_cutoff if closed.audit_cutoff is not None else audit
        reference = closed.reference_cutoff if closed.reference_cutoff is not None else reference


def _answers_within_overlap(project: Project) -> Iterator[str]:
    """I-2, I-9: active leases + finished counted answers = the counter, and never more than the overlap."""
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


def _annotations_are_revisions(project: Project) -> Iterator[str]:
    """I-1, I-2: one current annotation per person and item, revisions without gaps."""
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


def _leases_end_with_their_round(project: Project) -> Iterator[str]:
    """I-2: nobody holds a question of a closed round, or one that was given up."""
    held = Lease.objects.filter(entry__round__project=project, ended_at__isnull=True)
    over = Q(entry__round__state=Round.State.CLOSED) | Q(entry__state=QueueEntry.State.UNRESOLVED)
    if lease := held.filter(over).first():
        yield f"lease {lease.public_id} is active, but its question is over"


def _counted_answers_had_a_lease(project: Project) -> Iterator[str]:
    """I-2: an answer counts only if its lease ended with it; what came late is kept uncounted."""
    ended_with_it = Lease.objects.filter(
        entry=OuterRef("entry"),
        annotator=OuterRef("annotator"),
        outcome__in=[Lease.Outcome.ANSWERED, Lease.Outcome.SKIPPED],
    )
    counted = Annotation.objects.filter(project=project, is_counted=True, entry__isnull=False)
    if late := counted.exclude(Exists(ended_with_it)).select_related("item").first():
        yield f"answer {late.public_id} to item {late.item.public_id} counts and had no lease"


def _blind_arms_show_nothing(project: Project) -> Iterator[str]:
    """S-1: no question that a blind arm asked showed the machine's answer, not even afterwards."""
    blind = Draw.objects.filter(item=OuterRef("item"), arm__in=ALWAYS_BLIND)
    here = Exists(blind.filter(round=OuterRef("round")))
    entries = QueueEntry.objects.filter(round__project=project).exclude(suggestion=SuggestionPolicy.HIDDEN)
    if entry := entries.filter(here).select_related("round").first():
        yield f"question {entry.position} of round {entry.round.index} belongs to a blind arm and is not hidden"
    drawn = Exists(blind.filter(round=OuterRef("entry__round")))
    answers = Annotation.objects.filter(project=project).exclude(suggestion=SuggestionPolicy.HIDDEN)
    if seen := answers.filter(drawn).select_related("item").first():
        yield f"answer {seen.public_id} to item {seen.item.public_id} was given in sight of the machine's"


def _gold_has_its_answer(project: Project) -> Iterator[str]:
    """Every gold label that a round gave stands in a counted answer to its item, or in what a reviewer decided."""
    answers = Annotation.objects.filter(item=OuterRef("item"), label=OuterRef("label"), is_counted=True)
    gold = Gold.objects.current().filter(project=project, round__isnull=False).select_related("item")
    if orphan := gold.exclude(rule=ADJUDICATED).exclude(Exists(answers)).first():
        yield f"item {orphan.item.public_id} has gold that nobody answered"
    decisions = Adjudication.objects.filter(entry__item=OuterRef("item"), entry__round=OuterRef("round"))
    decided = gold.filter(rule=ADJUDICATED)
    if orphan := decided.exclude(Exists(decisions.filter(is_current=True, label=OuterRef("label")))).first():
        yield f"item {orphan.item.public_id} has gold that no reviewer decided"


def _decisions_stand(project: Project) -> Iterator[str]:
    """What a reviewer decided is the gold of its item, and the question is over."""
    decided = Adjudication.objects.filter(project=project, is_current=True).select_related("item", "entry__round")
    gold = Gold.objects.current().filter(item=OuterRef("item"), round=OuterRef("entry__round"), rule=ADJUDICATED)
    for one in decided.filter(label__isnull=False).exclude(Exists(gold.filter(label=OuterRef("label"))))[:1]:
        yield f"item {one.item.public_id} was decided in round {one.entry.round.index} and does not have that gold"
    over = Q(label__isnull=True, entry__state=QueueEntry.State.UNRESOLVED) | Q(
        label__isnull=False, entry__state=QueueEntry.State.ANSWERED
    )
    for one in decided.exclude(over)[:1]:
        yield f"item {one.item.public_id} was decided in round {one.entry.round.index}, but is {one.entry.state} there"


def _audit_gold_never_trains(project: Project) -> Iterator[str]:
    """S-2: no model's snapshot holds a label that only an audit draw obtained."""
    for model in project.model_versions.order_by("version"):
        arrays, _ = checkpoints.load_checkpoint(files.checked_path(model.snapshot_file, model.snapshot_sha256))
        trained = set(arrays["ordinal"][arrays["gold"] >= 0].tolist())
        allowed = set(
            Gold.objects.filter(project=project, created_at__lte=model.created_at)
            .exclude(origin=Arm.AUDIT)
            .values_list("item__ordinal", flat=True)
        )
        if leaked := sorted(trained - allowed):
            yield f"{model} trained on gold of item {leaked[0]} that no other draw than the audit obtained"
        reference = set(arrays["ordinal"][arrays["reference"] == 1].tolist())
        drawn = set(Draw.objects.filter(project=project, arm=Arm.RANDOM).values_list("item__ordinal", flat=True))
        if strange := sorted(reference - drawn):
            yield f"{model} took item {strange[0]} for a reference item that was not drawn as one"


def _audited_items_keep_their_gold(project: Project) -> Iterator[str]:
    """S-2 from the draws: gold that trains on an audited item was there before its audit draw.

    Not from `origin`, which the same bug or hand could have changed.
    """
    audit = Draw.objects.filter(item=OuterRef("item"), arm=Arm.AUDIT, created_at__lt=OuterRef("created_at"))
    leaked = Gold.objects.filter(project=project).exclude(origin=Arm.AUDIT).filter(Exists(audit))
    if gold := leaked.select_related("item").first():
        yield f"item {gold.item.public_id} has gold that trains, given after the audit drew it"
    marked = Draw.objects.filter(item=OuterRef("item"), arm=Arm.IMPORTED)
    imported = Gold.objects.filter(project=project, origin=Arm.IMPORTED).exclude(Exists(marked))
    if gold := imported.select_related("item").first():
        yield f"item {gold.item.public_id} came with gold and does not belong to A"


def _figures_follow_from_the_audit(project: Project) -> Iterator[str]:
    """The stored figures about the project as it is now are the ones that its rows give."""
    row = delivery.existing(project)
    stored = list(row.estimates.exclude(estimand=Estimate.Estimand.LOOK)) if row else []
    if row is None or not stored:
        return
    frozen = delivery.load(row)
    figures = estimation.figures(project, frozen, estimation.load_audit(project, frozen))
    given = {(figure.estimand, figure.label and figure.label.pk): figure for figure in figures}
    for kept in stored:
        figure = given.get((kept.estimand, kept.label_id))
        if figure is None or _numbers(kept) != _numbers(figure):
            yield f"the stored figure {kept.estimand} of {row} is not the one that its rows give"


def _numbers(figure: Estimate) -> tuple[float | None, float | None, float | None, int]:
    return figure.value, figure.low, figure.high, figure.n


def _files_have_their_checksums(project: Project) -> Iterator[str]:
    """I-10: what a row points at exists, with the checksum that the row records."""
    for upload in project.uploads.filter(deleted_at__isnull=True).order_by("pk"):
        files.checked_path(upload.file, upload.file_sha256)
    for model in project.model_versions.order_by("version"):
        files.checked_path(model.snapshot_file, model.snapshot_sha256)
        files.checked_path(model.artefact_file, model.artefact_sha256)
    if last := project.model_versions.order_by("-version").first():
        artefacts.load_snapshot(last)  # compares the vectors it saw
    for row in project.delivered_versions.order_by("version"):
        frozen = delivery.load(row)
        ordinal = frozen.arrays["ordinal"]
        if len(ordinal) != row.n_pool or (np.diff(ordinal) <= 0).any():
            yield f"{row} does not hold its {row.n_pool} items in order"
    yield from dataset_files.problems(project.exports.all())


def _every_run_ends(project: Project) -> Iterator[str]:
    """I-8: nothing stays running without a sign of life."""
    lost = project.runs.filter(state=Run.State.RUNNING, lease_until__lt=database_now()).first()
    if lost:
        yield f"{lost.kind} {lost.public_id} has shown no sign of life since {lost.heartbeat_at}; start it again"


def _counters_equal_a_recount(project: Project) -> Iterator[str]:
    """I-9: what imports counted is what is there; ordinals are dense."""
    for source in project.imports.filter(state=Import.State.COMPLETE):
        n_items = source.items.count()
        if n_items != source.n_items:
            yield f"import {source} counted {source.n_items} items and has {n_items}"
        kinds = dict(source.rejected_rows.values_list("kind").annotate(n=Count("id")))
        if kinds.get("rejected", 0) != source.n_rejected or kinds.get("duplicate", 0) != source.n_duplicates:
            yield f"import {source} does not have the quarantined rows that it counted"
    n_items = Item.objects.filter(project=project).count()
    last = Item.objects.filter(project=project).order_by("-ordinal").values_list("ordinal", flat=True).first()
    if n_items != (0 if last is None else last + 1) or n_items != project.next_ordinal:
        yield f"{n_items} items, but the last ordinal is {last} and the next {project.next_ordinal}"


def _money_adds_up(project: Project) -> Iterator[str]:
    """I-3: the sums of each budget are those of its ledger, and never above its cap."""
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


def _each_attempt_ends_once(project: Project) -> Iterator[str]:
    """I-4: nothing is reserved for what is over; what ended has its amount, and released cost nothing."""
    entries = LedgerEntry.objects.filter(budget__project=project)
    reserved = entries.filter(state=LedgerEntry.State.RESERVED)
    for kind, over in (("run", Q(run__finished_at__isnull=False)), ("lease", Q(lease__ended_at__isnull=False))):
        if entry := reserved.filter(over).first():
            yield f"ledger entry {entry.public_id} is still reserved, and its {kind} is over"
    if entry := reserved.filter(run__attempt__gt=F("run_attempt"), run__state=Run.State.SUCCEEDED).first():
        yield f"ledger entry {entry.public_id} is still reserved by an attempt that was lost"
    if entry := entries.filter(state=LedgerEntry.State.RELEASED).exclude(final_micros=0).first():
        yield f"ledger entry {entry.public_id} was released and cost something"
    whole = entries.filter(state=LedgerEntry.State.WRITTEN_OFF).exclude(final_micros=F("reserved_micros"))
    if entry := whole.first():
        yield f"ledger entry {entry.public_id} was written off for something else than what was reserved"
    if entry := entries.filter(state=LedgerEntry.State.RESERVED, run__isnull=True, lease__isnull=True).first():
        yield f"ledger entry {entry.public_id} is reserved for nothing"


def _people_were_paid(project: Project) -> Iterator[str]:
    """I-3 for people: what answers say they were paid is what the ledger settled, item by item."""
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


def _keys_stay_secret(project: Project) -> Iterator[str]:
    """No key of a connection stands in what pages and programs can read."""
    for connection in Connection.objects.filter(Q(lent_to=project) | Q(used_by=project)).distinct():
        if not connection.key_encrypted:
            continue
        key = secrets.decrypt(connection.key_encrypted)
        events = Event.objects.filter(Q(project=project) | Q(project__isnull=True))
        told = Run.objects.filter(project=project).filter(Q(message__contains=key) | Q(trace__contains=key))
        reasons = LedgerEntry.objects.filter(budget__project=project, reason__contains=key)
        if (
            events.annotate(text=Cast("data", TextField())).filter(text__contains=key).exists()
            or told.exists()
            or reasons.exists()
            or RunLine.objects.filter(run__project=project, text__contains=key).exists()
        ):
            yield f"the key of the connection {connection} stands in the events or runs"


CHECKS: dict[str, Check] = {
    "random numbers and folds follow from the key": _numbers_follow_from_key,
    "samples are complete up to their marks": _samples_are_complete,
    "answers stay within the overlap": _answers_within_overlap,
    "one current answer per person and item": _annotations_are_revisions,
    "leases end with their round": _leases_end_with_their_round,
    "counted answers had a lease": _counted_answers_had_a_lease,
    "blind questions show nothing": _blind_arms_show_nothing,
    "gold stands in answers": _gold_has_its_answer,
    "what reviewers decided stands": _decisions_stand,
    "audit gold never trains": _audit_gold_never_trains,
    "gold on audited items came before the audit": _audited_items_keep_their_gold,
    "figures follow from the audit sample": _figures_follow_from_the_audit,
    "files have their checksums": _files_have_their_checksums,
    "every run ends": _every_run_ends,
    "money adds up": _money_adds_up,
    "each attempt to spend ends once": _each_attempt_ends_once,
    "people were paid what was settled": _people_were_paid,
    "keys stay secret": _keys_stay_secret,
    "counters equal a recount": _counters_equal_a_recount,
}
