"""Loads, keeps and reads again what the figures about one delivered version follow from: the audit sample as it was."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from django.utils.translation import gettext as _

from annotate import files, labels
from annotate.errors import FileDamaged
from annotate.learning import delivery, pool
from annotate.models import Estimate, EstimateInputs, Project
from annotate.models.project import Arm
from models_ml import checkpoints
from models_ml.arrays import AnyArray, Bools, Ints


@dataclass(frozen=True)
class Sizes:
    """What the audit sample was drawn from, and what else the figures depend on; numbers of items."""

    version: str  # public id of the delivered version
    n_items: int  # N: of the population, withdrawn audited items included
    n_in_a: int
    n_in_a_without_gold: int  # c
    n_unasked: int  # of which the LLM was never asked
    is_prelabeled: bool  # by a prompt version in force
    has_model: bool
    audit_cutoff: float | None  # the sample is complete up to it under the labels in force; None: it is whole
    target_accuracy: float | None
    audit_target: int
    n_looks: int  # spent before


@dataclass(frozen=True)
class Audit:
    """The n audited items, of P imports and K labels, as the figures about a delivered version count them."""

    sizes: Sizes
    ordinal: Ints  # (n,) as all arrays up to `new_data`; ascending
    part: Ints  # id of the import
    in_a: Bools
    is_withdrawn: Bools
    gold: Ints  # blind gold label; -1: none, the item is unresolved
    gold_row: Ints  # primary key of that gold; -1: none
    silver: Ints  # the LLM's label; K: no valid answer, -1: never asked
    model: Ints  # the champion's out-of-fold label; -1: none
    machine: Ints  # the frozen machine label; -1: none
    had_file: Bools  # was answered by somebody who had the machine's label in a file, see Download
    new_data: Ints  # the label by fits without the item's near-duplicates; -1: none
    parts: Ints  # (P,) ids of imports, ascending
    n_of_part: Ints  # (P,) items of the population
    n_of_part_in_r: Ints  # (P,) items of the population outside A
    n_machine: Ints  # (K,) items of the population with this frozen machine label
    interval: str | None = None  # a method of models_ml/estimators.py for all figures; None: by the number of errors

    @property
    def resolved(self) -> Bools:
        """(n,) audited items with a blind gold label."""
        return self.gold != pool.NO_LABEL

    def n_had_file(self, within: Bools | None = None) -> int:
        """How many of the resolved items `within` (None: of all) people answered who had the file."""
        rows = self.resolved & self.had_file
        return int((rows if within is None else rows & within).sum())


def load(project: Project, frozen: delivery.Frozen) -> Audit:
    """The audit of the project's current delivered version, `new_data` aside. Call it inside one read snapshot.

    Items of the audit sample that were withdrawn one by one stay in the population, as unresolved.
    """
    history = labels.history(frozen.row.schema)
    items = pool.load(project, with_withdrawn_audit=True)
    gold = pool.load_gold(items, history)
    silver = pool.load_silver(items, frozen.row.prompt, history).label
    sampled = pool.sample(items, history, Arm.AUDIT)
    in_a = pool.is_selected(items, project)
    is_delivered_with_gold = (gold.delivered != pool.NO_LABEL) & ~items.is_withdrawn
    machine = _frozen_labels(frozen, "label", items)
    blind = np.where(items.is_withdrawn, pool.NO_LABEL, gold.blind)
    parts, place = np.unique(items.source, return_inverse=True)
    return Audit(
        sizes=Sizes(
            version=frozen.row.public_id,
            n_items=len(items),
            n_in_a=int(in_a.sum()),
            n_in_a_without_gold=int((in_a & ~is_delivered_with_gold).sum()),
            n_unasked=int((silver == pool.NO_LABEL).sum()),
            is_prelabeled=frozen.row.prompt is not None,
            has_model=frozen.row.model is not None,
            audit_cutoff=history.schema.audit_cutoff,
            target_accuracy=project.target_accuracy,
            audit_target=project.audit_target,
            n_looks=Estimate.objects.filter(project=project, estimand=Estimate.Estimand.LOOK).count(),
        ),
        ordinal=items.ordinal[sampled],
        part=items.source[sampled],
        in_a=in_a[sampled],
        is_withdrawn=items.is_withdrawn[sampled],
        gold=blind[sampled],
        gold_row=np.where(blind == pool.NO_LABEL, pool.NO_LABEL, gold.blind_row)[sampled],
        silver=silver[sampled],
        model=_frozen_labels(frozen, "model_label", items)[sampled],
        machine=machine[sampled],
        had_file=items.mask(_had_file(project))[sampled],
        new_data=np.full(int(sampled.sum()), pool.NO_LABEL, dtype=np.int64),
        parts=parts,
        n_of_part=np.bincount(place, minlength=len(parts)),
        n_of_part_in_r=np.bincount(place[~in_a], minlength=len(parts)),
        n_machine=np.bincount(machine[machine >= 0], minlength=history.n_classes),
    )


def _had_file(project: Project) -> set[int]:
    """Ids of items with a counted blind answer or a decision by somebody who had the machine's label in a file."""
    answers = project.annotations.filter(is_counted=True, is_blind=True, label__isnull=False, had_file=True)
    decided = project.adjudications.filter(is_current=True, is_blind=True, had_file=True)
    return {*answers.values_list("item_id", flat=True), *decided.values_list("item_id", flat=True)}


def _frozen_labels(frozen: delivery.Frozen, name: str, items: pool.Pool) -> Ints:
    """(N,) the labels in the frozen array `name`; -1 for withdrawn items, which it does not hold."""
    found = np.full(len(items), pool.NO_LABEL, dtype=np.int64)
    present = ~items.is_withdrawn
    found[present] = frozen.at(name, items.ordinal[present])
    return found


def kept(audit: Audit, frozen: delivery.Frozen) -> EstimateInputs:
    """A row, not stored yet, that keeps this audit with its checksum."""
    arrays = {name: array.astype(np.uint8 if array.dtype == bool else np.int64) for name, array in _arrays(audit)}
    content = checkpoints.to_bytes(arrays, asdict(audit.sizes))
    return EstimateInputs(delivered_version=frozen.row, content=content, sha256=files.hashed_bytes(content))


def read(row: EstimateInputs) -> Audit:
    """The audit that this row keeps; FileDamaged if it does not have its checksum."""
    content = bytes(row.content)
    if files.hashed_bytes(content) != row.sha256:
        raise FileDamaged(
            _("The inputs of the figures of %(version)s do not have their checksum.")
            % {"version": row.delivered_version}
        )
    arrays, sizes = checkpoints.from_bytes(content)
    columns: dict[str, Any] = {
        name: array.astype(bool) if array.dtype == np.uint8 else array for name, array in arrays.items()
    }
    return Audit(sizes=Sizes(**sizes), **columns)


def _arrays(audit: Audit) -> list[tuple[str, AnyArray]]:
    found: list[tuple[str, Any]] = [(field.name, getattr(audit, field.name)) for field in fields(audit)]
    return [(name, array) for name, array in found if isinstance(array, np.ndarray)]
