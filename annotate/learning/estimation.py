"""Estimates accuracy, precision and recall of one delivered version, from the answers of the audit sample only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from django.db import transaction

from annotate import access, labels, projects
from annotate.learning import artefacts, delivery, pool
from annotate.models import Estimate, Label, Project, Round, User
from annotate.models.project import Arm
from annotate.runs import lifecycle
from models_ml import estimators
from models_ml.arrays import Bools, Ints
from models_ml.estimators import Sample
from models_ml.training.new_data import new_data_predictions

_KIND = Estimate.Estimand


@dataclass(frozen=True)
class Audit:
    """The audit sample and the labels of one delivered version; arrays have one position per item of the population."""

    version: str  # public id of the delivered version
    in_sample: Bools  # audited, as far as the sample is complete under the labels in force
    gold: Ints  # blind gold label, of other items than the audited ones too; -1: none
    in_a: Bools
    has_gold: Bools  # is delivered with gold
    part: Ints  # id of the import
    silver: Ints  # the LLM's label; K: no valid answer, -1: never asked
    model: Ints  # the champion's out-of-fold label; -1: none
    machine: Ints  # the frozen machine label; -1: none
    had_file: Bools  # was answered by somebody who had the machine's label in a file, see Download
    interval: str | None = None  # a method of models_ml/estimators.py for all figures; None: by the number of errors

    @property
    def resolved(self) -> Bools:
        """(N,) audited items with a blind gold label."""
        return self.in_sample & (self.gold != pool.NO_LABEL)

    def sample(self, within: Bools) -> Sample:
        """The audited items among the items `within`, as a sample of them.

        `within` may be chosen by anything but the permanent random numbers, which alone decide who is audited.
        """
        drawn = self.in_sample & within
        return Sample(
            arm=Arm.AUDIT.value,
            is_blind=True,
            version=self.version,
            population=int(within.sum()),
            size=int(drawn.sum()),
            unresolved=int((drawn & ~self.resolved).sum()),
        )

    def n_had_file(self, within: Bools | None = None) -> int:
        """How many of the resolved items `within` (None: of all) people answered who had the file."""
        rows = self.resolved & self.had_file
        return int((rows if within is None else rows & within).sum())

    def right(self, labels: Ints, within: Bools) -> Bools:
        """Whether `labels` equal the gold, one value for each resolved item `within`."""
        rows = self.resolved & within
        return labels[rows] == self.gold[rows]


def estimate(
    *, project: Project, by: User, show: lifecycle.Show | None = None, frozen: delivery.Frozen | None = None
) -> list[Estimate]:
    """Compute and store all figures about the project as it is now (docs/loop.md, "Estimates").

    Figures that the delivered version has already are returned instead. A figure without a value says the reason.
    `frozen`: the delivered version that they are about, where one was just frozen; the project may change meanwhile.
    """
    access.require(by, project, to="manage")
    with lifecycle.start(kind="estimate", project=project, by=by, show=show) as attempt:
        frozen = frozen or delivery.current(project=project, by=by)
        if known := list(frozen.row.estimates.order_by("id")):
            return known
        audit = load_audit(project, frozen)
        rows = figures(project, frozen, audit)
        if look := _look(project, audit):
            rows.append(look)
        last = project.rounds.filter(state=Round.State.CLOSED).order_by("-index").first()
        for row in rows:
            row.project, row.delivered_version, row.round = project, frozen.row, last
        with transaction.atomic():
            attempt.beat(1, 1, force=True)
            return Estimate.objects.bulk_create(rows)


def figures(project: Project, frozen: delivery.Frozen, audit: Audit) -> list[Estimate]:
    """The figures about a delivered version, without the look, computed from its audit and not stored."""
    return [*_accuracies(project, frozen, audit), *_per_class(frozen, audit)]


def load_audit(project: Project, frozen: delivery.Frozen) -> Audit:
    """The audit of the project's current delivered version.

    Items of the audit sample that were withdrawn one by one stay in the population, as unresolved.
    """
    history = labels.history(frozen.row.schema)
    items = pool.load(project, with_withdrawn_audit=True)
    gold = pool.load_gold(items, history)
    silver = pool.load_silver(items, frozen.row.prompt, history)
    delivered = np.where(items.is_withdrawn, pool.NO_LABEL, gold.delivered)
    return Audit(
        version=frozen.row.public_id,
        in_sample=pool.sample(items, history, Arm.AUDIT),
        gold=np.where(items.is_withdrawn, pool.NO_LABEL, gold.blind),
        in_a=pool.is_selected(items, project),
        has_gold=delivered != pool.NO_LABEL,
        part=items.source,
        silver=silver.label,
        model=_frozen_labels(frozen, "model_label", items),
        machine=_frozen_labels(frozen, "label", items),
        had_file=items.mask(_had_file(project)),
    )


def _had_file(project: Project) -> set[int]:
    """Ids of items with a counted blind answer or a decision by somebody who had the machine's label in a file."""
    answers = project.annotations.filter(is_counted=True, is_blind=True, label__isnull=False, had_file=True)
    decided = project.adjudications.filter(is_current=True, is_blind=True, had_file=True)
    return {*answers.values_list("item_id", flat=True), *decided.values_list("item_id", flat=True)}


def _frozen_labels(frozen: delivery.Frozen, name: str, items: pool.Pool) -> Ints:
    """(N,) the labels in the frozen array `name`; -1 for withdrawn items, which it does not hold."""
    labels = np.full(len(items), pool.NO_LABEL, dtype=np.int64)
    present = ~items.is_withdrawn
    labels[present] = frozen.at(name, items.ordinal[present])
    return labels


def _accuracies(project: Project, frozen: delivery.Frozen, audit: Audit) -> Iterator[Estimate]:
    had = audit.n_had_file()
    yield _row(_KIND.LLM, _pool_accuracy(audit, audit.silver, *_is_prelabeled(frozen, audit)), had)
    has_model = frozen.row.model is not None
    yield _row(_KIND.MODEL, _pool_accuracy(audit, audit.model, has_model, "no model is trained"), had)
    yield _row(_KIND.MODEL_NEW_DATA, _new_data(project, frozen, audit), had, is_pool=False)
    # Its sample is one of R, but the figure is about the whole pool.
    delivered = replace(_delivered(audit), population=len(audit.in_a))
    yield _row(_KIND.DELIVERED, delivered, audit.n_had_file(~audit.in_a))


def _is_prelabeled(frozen: delivery.Frozen, audit: Audit) -> tuple[bool, str]:
    """Whether the LLM was asked about every item of the population; if not, the reason for a figure without value."""
    n_unasked = int((audit.silver == pool.NO_LABEL).sum())
    if frozen.row.prompt is None:
        return False, "nothing is pre-labeled"
    return n_unasked == 0, f"{n_unasked} items are not pre-labeled yet"


def _pool_accuracy(audit: Audit, labels: Ints, exists: bool, reason: str) -> estimators.Estimate:
    """Accuracy of `labels` on the pool, from all of S, post-stratified by import; only the reason unless they exist."""
    everywhere = np.ones(len(labels), dtype=bool)
    if not exists:
        return _none(audit.sample(everywhere), reason)
    parts = [audit.part == part for part in np.unique(audit.part)] or [everywhere]
    return estimators.post_stratified_accuracy(
        [audit.sample(part) for part in parts],
        [audit.right(labels, part) for part in parts],
        method=audit.interval,
    )


def _delivered(audit: Audit) -> estimators.Estimate:
    """Accuracy of the delivered labels (gold, else the frozen machine label) on the pool, from S ∩ R."""
    in_r = ~audit.in_a
    parts = [in_r & (audit.part == part) for part in np.unique(audit.part)] or [in_r]
    return estimators.post_stratified_delivered(
        [audit.sample(part) for part in parts],
        [audit.right(audit.machine, part) for part in parts],
        **_population(audit),
        method=audit.interval,
    )


def _population(audit: Audit) -> dict[str, int]:
    """The sizes N, |A| and c that a figure from S ∩ R needs to speak of the whole pool."""
    return {
        "pool_size": len(audit.in_a),
        "in_a": int(audit.in_a.sum()),
        "in_a_without_gold": int((audit.in_a & ~audit.has_gold).sum()),
    }


def _new_data(project: Project, frozen: delivery.Frozen, audit: Audit) -> estimators.Estimate:
    """Accuracy of the model on future items: predictions by fits without near-duplicates of the audited items."""
    sample = audit.sample(np.ones(len(audit.gold), dtype=bool))
    if frozen.row.model is None:
        return _none(sample, "no model is trained")
    snapshot, ordinal = artefacts.load_snapshot(frozen.row.model)
    items = pool.load(project, with_withdrawn_audit=True)
    audited = items.ordinal[audit.resolved]
    if not np.isin(audited, ordinal).all():
        # Items that the snapshot lacks have no position in it, from which their near-duplicates could be found.
        return _none(sample, "items were imported after the model was trained; train again")
    if not len(audited):
        return estimators.new_data_accuracy(sample, np.zeros(0, dtype=bool))
    predicted = new_data_predictions(
        artefacts.load_version(frozen.row.model), snapshot, np.searchsorted(ordinal, audited)
    )
    reads = labels.history(frozen.row.schema).map_from(frozen.row.model.schema_id).predictions(predicted)
    right = reads.argmax(axis=1) == audit.gold[audit.resolved]
    return estimators.new_data_accuracy(sample, right, method=audit.interval)


def _per_class(frozen: delivery.Frozen, audit: Audit) -> Iterator[Estimate]:
    """Precision and recall of the machine label per class; without a value below 30 answers."""
    everywhere = np.ones(len(audit.gold), dtype=bool)
    unresolved = audit.in_sample & ~audit.resolved
    for label in projects.labels_of(frozen.row.schema):
        labeled_so = audit.machine == label.index
        right = audit.right(audit.machine, labeled_so)
        precision = estimators.class_precision(audit.sample(labeled_so), right, method=audit.interval)
        yield _row(_KIND.PRECISION, precision, audit.n_had_file(labeled_so), label=label)
        of_class = (audit.gold == label.index) | unresolved
        whole = audit.sample(everywhere)
        sample = Sample(
            arm=whole.arm,
            is_blind=whole.is_blind,
            version=whole.version,
            population=whole.population,
            size=int((audit.in_sample & of_class).sum()),
            unresolved=whole.unresolved,
        )
        recall = estimators.class_recall(sample, audit.right(audit.machine, of_class), method=audit.interval)
        yield _row(_KIND.RECALL, recall, audit.n_had_file(of_class), label=label, is_pool=False)


def _look(project: Project, audit: Audit) -> Estimate | None:
    """The next preset look at the target, if the resolved audit sample has reached its size; else None."""
    if project.target_accuracy is None:
        return None
    in_r = ~audit.in_a
    sizes = estimators.look_sizes(project.audit_target)
    n_spent = Estimate.objects.filter(project=project, estimand=_KIND.LOOK).count()
    n_reached = sum(size <= int(audit.resolved.sum()) for size in sizes)
    if n_reached <= n_spent:
        return None
    sample = audit.sample(in_r)
    bound = estimators.look_bound(sample, audit.right(audit.machine, in_r), looks=len(sizes), **_population(audit))
    return Estimate(
        estimand=_KIND.LOOK,
        value=bound,
        low=bound,
        high=1.0,
        n=sample.size,
        n_unresolved=sample.unresolved,
        n_had_file=audit.n_had_file(in_r),
        population=len(audit.in_a),
        method=f"exact one-sided, look {n_spent + 1} of {len(sizes)}",
    )


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
