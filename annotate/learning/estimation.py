"""Estimates accuracy, precision and recall of one delivered version, from the answers of the audit sample only."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from django.db import transaction

from annotate import access, labels, projects
from annotate.learning import artefacts, delivery, pool
from annotate.learning import audit as audits
from annotate.learning.audit import Audit
from annotate.models import DeliveredVersion, Estimate, Label, Project, Round, User
from annotate.models.project import Arm
from annotate.models.snapshot import read_snapshot
from annotate.runs import lifecycle
from models_ml import estimators
from models_ml.arrays import Bools, Ints
from models_ml.estimators import Sample
from models_ml.training.new_data import new_data_predictions

_KIND = Estimate.Estimand


def estimate(
    *, project: Project, by: User, show: lifecycle.Show | None = None, frozen: delivery.Frozen | None = None
) -> list[Estimate]:
    """Compute and store all figures about the project as it is now (docs/loop.md, "Estimates"), with their inputs.

    Figures that the delivered version has already are returned instead. A figure without a value says the reason.
    `frozen`: the delivered version that they are about, where one was just frozen; the project may change meanwhile.
    """
    access.require(by, project, to="manage")
    with lifecycle.start(kind="estimate", project=project, by=by, show=show) as attempt:
        frozen = frozen or delivery.current(project=project, by=by)
        if known := list(frozen.row.estimates.order_by("id")):
            return known
        audit = load_audit(project, frozen)
        rows = figures(frozen.row, audit)
        if look := look_at(audit):
            rows.append(look)
        last = project.rounds.filter(state=Round.State.CLOSED).order_by("-index").first()
        for row in rows:
            row.project, row.delivered_version, row.round = project, frozen.row, last
        with transaction.atomic():
            attempt.beat(1, 1, force=True)
            audits.kept(audit, frozen).save(force_insert=True)
            return Estimate.objects.bulk_create(rows)


def load_audit(project: Project, frozen: delivery.Frozen) -> Audit:
    """The audit of the project's current delivered version, read at one point in time."""
    with read_snapshot():
        audit = audits.load(project, frozen)
    return with_new_data(frozen, audit)


def with_new_data(frozen: delivery.Frozen, audit: Audit) -> Audit:
    """The audit with the labels by fits without near-duplicates, which take a while: outside of the snapshot."""
    return replace(audit, new_data=_new_data_labels(frozen, audit))


def figures(row: DeliveredVersion, audit: Audit) -> list[Estimate]:
    """The figures about a delivered version, without the look, computed from its audit and not stored."""
    return [*_accuracies(audit), *_per_class(row, audit)]


def look_at(audit: Audit) -> Estimate | None:
    """The next preset look at the target, if the resolved audit sample has reached its size; else None."""
    if audit.sizes.target_accuracy is None:
        return None
    in_r = ~audit.in_a
    sizes = estimators.look_sizes(audit.sizes.audit_target)
    n_reached = sum(size <= int(audit.resolved.sum()) for size in sizes)
    if n_reached <= audit.sizes.n_looks:
        return None
    sample = _sample(audit, in_r, int(audit.n_of_part_in_r.sum()))
    bound = estimators.look_bound(sample, _right(audit, audit.machine, in_r), looks=len(sizes), **_population(audit))
    return Estimate(
        estimand=_KIND.LOOK,
        value=bound,
        low=bound,
        high=1.0,
        n=sample.size,
        n_unresolved=sample.unresolved,
        n_had_file=audit.n_had_file(in_r),
        population=audit.sizes.n_items,
        method=f"exact one-sided, look {audit.sizes.n_looks + 1} of {len(sizes)}",
    )


def _sample(audit: Audit, within: Bools, population: int) -> Sample:
    """The audited items `within`, as a sample of the `population` items from which these come.

    `within` may be chosen by anything but the permanent random numbers, which alone decide who is audited.
    """
    return Sample(
        arm=Arm.AUDIT.value,
        is_blind=True,
        version=audit.sizes.version,
        population=population,
        size=int(within.sum()),
        unresolved=int((within & ~audit.resolved).sum()),
    )


def _whole(audit: Audit) -> Sample:
    return _sample(audit, _everywhere(audit), audit.sizes.n_items)


def _everywhere(audit: Audit) -> Bools:
    return np.ones(len(audit.ordinal), dtype=bool)


def _right(audit: Audit, labels: Ints, within: Bools) -> Bools:
    """Whether `labels` equal the gold, one value for each resolved item `within`."""
    rows = audit.resolved & within
    return labels[rows] == audit.gold[rows]


def _accuracies(audit: Audit) -> Iterator[Estimate]:
    had = audit.n_had_file()
    yield _row(_KIND.LLM, _pool_accuracy(audit, audit.silver, *_is_prelabeled(audit)), had)
    yield _row(_KIND.MODEL, _pool_accuracy(audit, audit.model, audit.sizes.has_model, "no model is trained"), had)
    yield _row(_KIND.MODEL_NEW_DATA, _new_data(audit), had, is_pool=False)
    # Its sample is one of R, but the figure is about the whole pool.
    delivered = replace(_delivered(audit), population=audit.sizes.n_items)
    yield _row(_KIND.DELIVERED, delivered, audit.n_had_file(~audit.in_a))


def _is_prelabeled(audit: Audit) -> tuple[bool, str]:
    """Whether the LLM was asked about every item of the population; if not, the reason for a figure without value."""
    if not audit.sizes.is_prelabeled:
        return False, "nothing is pre-labeled"
    return audit.sizes.n_unasked == 0, f"{audit.sizes.n_unasked} items are not pre-labeled yet"


def _pool_accuracy(audit: Audit, labels: Ints, exists: bool, reason: str) -> estimators.Estimate:
    """Accuracy of `labels` on the pool, from all of S, post-stratified by import; only the reason unless they exist."""
    if not exists:
        return _none(_whole(audit), reason)
    parts = _parts(audit, _everywhere(audit), audit.n_of_part)
    return estimators.post_stratified_accuracy(
        [_sample(audit, within, size) for within, size in parts],
        [_right(audit, labels, within) for within, _ in parts],
        method=audit.interval,
    )


def _delivered(audit: Audit) -> estimators.Estimate:
    """Accuracy of the delivered labels (gold, else the frozen machine label) on the pool, from S ∩ R."""
    parts = _parts(audit, ~audit.in_a, audit.n_of_part_in_r)
    return estimators.post_stratified_delivered(
        [_sample(audit, within, size) for within, size in parts],
        [_right(audit, audit.machine, within) for within, _ in parts],
        **_population(audit),
        method=audit.interval,
    )


def _parts(audit: Audit, within: Bools, sizes: Ints) -> list[tuple[Bools, int]]:
    """By import: the audited items `within`, and how many items of the population they stand for."""
    parts = zip(audit.parts.tolist(), sizes.tolist(), strict=True)
    return [(within & (audit.part == part), size) for part, size in parts] or [(within, 0)]


def _population(audit: Audit) -> dict[str, int]:
    """The sizes N, |A| and c that a figure from S ∩ R needs to speak of the whole pool."""
    sizes = audit.sizes
    return {"pool_size": sizes.n_items, "in_a": sizes.n_in_a, "in_a_without_gold": sizes.n_in_a_without_gold}


def _new_data(audit: Audit) -> estimators.Estimate:
    """Accuracy of the model on future items: predictions by fits without near-duplicates of the audited items."""
    if not audit.sizes.has_model:
        return _none(_whole(audit), "no model is trained")
    if (audit.new_data[audit.resolved] == pool.NO_LABEL).any():
        return _none(_whole(audit), "items were imported after the model was trained; train again")
    right = _right(audit, audit.new_data, _everywhere(audit))
    return estimators.new_data_accuracy(_whole(audit), right, method=audit.interval)


def _new_data_labels(frozen: delivery.Frozen, audit: Audit) -> Ints:
    """(n,) the model's label of each resolved item by a fit without its near-duplicates; -1 where there is none.

    All are -1 where the snapshot lacks one of the items: their near-duplicates could not be found.
    """
    labels_of = np.full(len(audit.ordinal), pool.NO_LABEL, dtype=np.int64)
    audited = audit.ordinal[audit.resolved]
    if frozen.row.model is None or not len(audited):
        return labels_of
    snapshot, ordinal = artefacts.load_snapshot(frozen.row.model)
    if not np.isin(audited, ordinal).all():
        return labels_of
    model = artefacts.load_version(frozen.row.model)
    predicted = new_data_predictions(model, snapshot, np.searchsorted(ordinal, audited))
    reads = labels.history(frozen.row.schema).map_from(frozen.row.model.schema_id).predictions(predicted)
    labels_of[audit.resolved] = reads.argmax(axis=1)
    return labels_of


def _per_class(row: DeliveredVersion, audit: Audit) -> Iterator[Estimate]:
    """Precision and recall of the machine label per class; without a value below 30 answers."""
    unresolved, whole = ~audit.resolved, _whole(audit)
    for label in projects.labels_of(row.schema):
        labeled_so = audit.machine == label.index
        right = _right(audit, audit.machine, labeled_so)
        sample = _sample(audit, labeled_so, int(audit.n_machine[label.index]))
        precision = estimators.class_precision(sample, right, method=audit.interval)
        yield _row(_KIND.PRECISION, precision, audit.n_had_file(labeled_so), label=label)
        of_class = (audit.gold == label.index) | unresolved
        sample = replace(whole, size=int(of_class.sum()))
        recall = estimators.class_recall(sample, _right(audit, audit.machine, of_class), method=audit.interval)
        yield _row(_KIND.RECALL, recall, audit.n_had_file(of_class), label=label, is_pool=False)


def _row(
    estimand: str, figure: estimators.Estimate, n_had_file: int, *, is_pool: bool = True, label: Label | None = None
) -> Estimate:
    """A row to store for a figure; its population is NULL unless it speaks of a known number of items."""
    return Estimate(
        estimand=estimand,
        label=label,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        n=figure.n,
        n_unresolved=figure.unresolved,
        n_had_file=n_had_file,
        population=figure.population if is_pool else None,
        method=figure.method,
        reason=figure.reason,
    )


def _none(sample: Sample, reason: str) -> estimators.Estimate:
    """A figure without a value, and the reason why."""
    return estimators.Estimate(None, None, None, sample.size, sample.unresolved, sample.population, "wilson", reason)
