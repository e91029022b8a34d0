"""Pools of labeled items whose machine labels are wrong in a way that is known or recorded."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machines import contents_of
from models_ml import registry
from models_ml.arrays import AnyArray, Array, Ints, Matrix, Positions
from models_ml.encoders.items import item_encoder, joined
from models_ml.encoders.words import Vocabulary, words
from models_ml.methods.contract import TrainingData
from models_ml.noise.corruption import corrupt, flip_matrix, length_bin, uniform_matrix
from models_ml.noise.transition import transition_counts
from models_ml.recorded_labels import recorded_label
from models_ml.seeds import generator

ENCODERS = ("glc-words", "minilm", "tfidf")
TFIDF_WORDS = 2000  # rows are dense: 8 kB an item
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Noise:
    """How machine labels come about: drawn at a rate, drawn at a rate by length, or read from a field of the files."""

    corruption: str  # uniform, flip, none, length; else the name of the field
    rate: float | tuple[float, ...] | None = None

    def labels(self, rows: Rows, names: Sequence[str], truth: Ints, rng: np.random.Generator) -> Positions:
        """int64[n]; K: no valid answer, which no drawn label is."""
        k, rate = len(names), self.rate
        if rate is None and self.corruption != "none":
            places = {name: place for place, name in enumerate(names)}
            return np.array([places.get(recorded_label(row, self.corruption) or "", k) for row in rows], np.int64)
        if isinstance(rate, tuple):
            seed = int(rng.integers(2**62))  # one other class for each, whatever the rate
            matrices = np.stack([flip_matrix(r, k, np.random.default_rng(seed)) for r in rate])
            return corrupt(truth, matrices, rng, length_bin(lengths_of(rows)))
        flips = flip_matrix(0.0 if rate is None else rate, k, rng)
        return corrupt(truth, (uniform_matrix(rate or 0.0, k) if self.corruption == "uniform" else flips)[None], rng)


@dataclass(frozen=True)
class Pool:
    """Items with the truth, what the machine says of each, and which of them people labeled (`gold_rows`).

    x and x_test: numbers of words int32[n, slots], or vectors float32[n, d]; truth, silver int64[n]; test int64[t];
    strata int64[n]: which of several noise matrices an item has, or None.
    """

    x: AnyArray
    truth: Ints
    silver: Ints
    gold_rows: Positions
    x_test: AnyArray
    test: Ints
    n_classes: int
    strata: Ints | None = None

    @property
    def gold(self) -> Ints:
        """The truth of the items with gold, -1 elsewhere."""
        gold = np.full(len(self.truth), -1)
        gold[self.gold_rows] = self.truth[self.gold_rows]
        return gold

    @property
    def noise(self) -> Matrix:
        """How the machine's labels depend on the truth among items without gold, by stratum: float64[G, K, K+1].

        NaN rows for classes that a stratum does not have.
        """
        rest = np.where(self.gold < 0, self.truth, -1)
        strata = np.zeros(len(rest), np.int64) if self.strata is None else self.strata
        counts = np.stack(
            [
                transition_counts(np.where(strata == g, rest, -1), self.silver, self.n_classes)
                for g in range(int(strata.max(initial=0)) + 1)
            ]
        )
        with np.errstate(invalid="ignore"):
            return np.asarray(counts / counts.sum(axis=2, keepdims=True), np.float64)

    def data(self, gold: Ints, silver: Ints, transitions: Matrix | None = None) -> TrainingData:
        """What a fit may see of the pool: these labels, and Ĉ float64[G, K, K+1]."""
        k = self.n_classes
        some = np.full((1, k, k + 1), 1 / (k + 1)) if transitions is None else transitions
        strata = self.strata if len(some) > 1 else None
        return TrainingData(self.x, gold, gold >= 0, silver, some, k, strata=strata)


def lengths_of(rows: Rows) -> Positions:
    """How many words of each text are left once stop words are gone."""
    return np.array([len(words(joined(contents_of(row)))) for row in rows], np.int64)


def sample_of(n: int, items: int | None, seed: int) -> Positions:
    """Which rows of the files a seed takes, as `simulate --items` does."""
    if items is None or items >= n:
        return np.arange(n)
    return np.sort(generator(seed, "items").choice(n, size=items, replace=False))


class Inputs:
    """Rows to what a classifier takes; vectors are kept in a folder, by the texts and the encoder.

    rows: all that will be asked for; they are encoded at once, when the first are.
    """

    def __init__(self, encoder: str, rows: Rows, cache: Path | None = None) -> None:
        self._encoder, self._rows = encoder, rows
        self._cache = cache or Path(tempfile.gettempdir()) / "goldloop-vectors"

    def of(self, rows: Rows, test_rows: Rows) -> tuple[AnyArray, AnyArray]:
        """Both parts; what is learned of words (which there are, how frequent) comes from `rows` alone."""
        if self._encoder == "minilm":
            first, second = ([self._known[contents_of(row)] for row in part] for part in (rows, test_rows))
            return np.array(first), np.array(second)
        texts, test_texts = ([joined(contents_of(row)) for row in part] for part in (rows, test_rows))
        if self._encoder == "tfidf":
            return _tfidf(texts, test_texts)
        vocabulary = Vocabulary.of(texts)
        return vocabulary.encode(texts), vocabulary.encode(test_texts)

    @cached_property
    def _known(self) -> dict[tuple[str, ...], Array]:
        contents = list(dict.fromkeys(contents_of(row) for row in self._rows))
        return dict(zip(contents, self._vectors(contents), strict=True))

    def _vectors(self, contents: list[tuple[str, ...]]) -> Array:
        items = item_encoder(registry.encoder(), "text" if len(contents[0]) == 1 else "pair")
        name = sha256("\0".join([items.fingerprint, *map(joined, contents)]).encode()).hexdigest()
        file = self._cache / f"{name[:32]}.npy"
        if file.exists():
            return np.load(file)
        vectors = items.encode(contents)
        self._cache.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npy")  # another process may look for the file meanwhile
        np.save(part, vectors)
        part.replace(file)
        return vectors


def _tfidf(texts: list[str], test_texts: list[str]) -> tuple[Array, Array]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=TFIDF_WORDS, dtype=np.float32).fit(texts)
    return vectorizer.transform(texts).toarray(), vectorizer.transform(test_texts).toarray()
