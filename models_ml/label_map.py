"""How labels, distributions and predictions under one version of a project's labels read under a later version.

The rules are those of docs/labels.md; no published method stands behind them. Adding probabilities where labels were
merged is exact, because merging classes sums the mass of disjoint events.
"""

from dataclasses import dataclass

import numpy as np

from models_ml.arrays import Array, Bools, Floats, Ints

NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class LabelMap:
    """What became of each of the K labels of an earlier version among the `n_classes` labels of a later one."""

    target: Ints  # (K,) the later label that a machine's label reads as; -1: none
    keeps_gold: Bools  # (K,) whether people's labels and gold read as `target`; False: they are void
    keeps_probability: Bools  # (K,) False: a split label's probability says nothing of the parts
    n_classes: int

    @classmethod
    def identity(cls, n_classes: int) -> "LabelMap":
        """The map of a version to itself."""
        kept = np.ones(n_classes, dtype=bool)
        return cls(np.arange(n_classes), kept, kept.copy(), n_classes)

    @property
    def is_identity(self) -> bool:
        """Whether every label stands where it stood, and gold with it."""
        same = len(self.target) == self.n_classes and bool((self.target == np.arange(self.n_classes)).all())
        return same and bool(self.keeps_gold.all())

    @property
    def keeps_models(self) -> bool:
        """Whether predictions of a model read under the later version: labels were only renamed, moved or merged."""
        return bool(self.keeps_gold.all()) and set(self.target.tolist()) == set(range(self.n_classes))

    def then(self, later: "LabelMap") -> "LabelMap":
        """This map, followed by `later`, which maps the labels that this one leads to."""
        if len(later.target) != self.n_classes:
            raise ValueError(f"a map of {len(later.target)} labels cannot follow one to {self.n_classes}")
        leads_on = self.target >= 0
        place = np.where(leads_on, self.target, 0)
        return LabelMap(
            np.where(leads_on, later.target[place], NO_LABEL),
            self.keeps_gold & leads_on & later.keeps_gold[place],
            self.keeps_probability & leads_on & later.keeps_probability[place],
            later.n_classes,
        )

    def gold(self, label: Ints) -> Ints:
        """(N,) labels of people, -1 where there is none, as they read later; -1 where they are void."""
        valid = np.where(self.keeps_gold, self.target, NO_LABEL)
        return np.where(label >= 0, valid[np.maximum(label, 0)], NO_LABEL)

    def silver(self, label: Ints) -> Ints:
        """(N,) labels of a machine as they read later: K (no valid answer) becomes `n_classes`, -1 stays -1.

        A label that leads nowhere reads as no valid answer, for all items alike: leaving such items out by what the
        machine said would bias the noise matrix.
        """
        reads = np.append(np.where(self.target >= 0, self.target, self.n_classes), self.n_classes)
        return np.where(label >= 0, reads[np.maximum(label, 0)], NO_LABEL)

    def probabilities(self, vectors: Array, label: Ints) -> Array:
        """(N, n_classes) distributions as they read later, of (N, K) `vectors` whose machine label was `label`.

        Merged labels add up. A label that leads nowhere leaves its probability to the others; only then are rows
        divided by what is left, so that those whose labels were renamed or moved keep every bit. A row is NaN (unknown)
        where its own label was split or leads nowhere, or where nothing is left.
        """
        moved = self._added(vectors)
        if (self.target < 0).any():
            whole = moved.sum(axis=1, keepdims=True)
            moved = np.divide(moved, whole, out=np.full_like(moved, np.nan), where=whole > 0)
        said = np.clip(label, 0, len(self.target) - 1)
        unknown = (label >= 0) & (label < len(self.target)) & ~(self.keeps_probability & (self.target >= 0))[said]
        if unknown.any():
            moved = np.where(unknown[:, None], np.nan, moved)
        return moved.astype(np.float32)

    def predictions(self, predicted: Floats) -> Floats:
        """(N, n_classes) what a model of the earlier version predicts, of its (N, K) predictions.

        ValueError where the change left the model behind (`keeps_models`).
        """
        if not self.keeps_models:
            raise ValueError("a model of these labels says nothing about the later ones; train again")
        return self._added(predicted).astype(predicted.dtype)

    def _added(self, vectors: Floats) -> Floats:
        """(N, n_classes) columns moved to their targets and added up there; those without a target left out."""
        if vectors.ndim != 2 or vectors.shape[1] != len(self.target):
            raise ValueError(f"vectors of {len(self.target)} labels are needed; these have the shape {vectors.shape}")
        if len(self.target) == self.n_classes and bool((self.target == np.arange(self.n_classes)).all()):
            return vectors  # nothing moves; with many labels the product below is large
        table = np.zeros((len(self.target), self.n_classes), dtype=np.float64)
        led = np.flatnonzero(self.target >= 0)
        table[led, self.target[led]] = 1.0
        return np.asarray(vectors @ table)
