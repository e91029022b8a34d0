"""Machine labels for replays: those of an LLM and of an out-of-fold model, recorded in files or synthetic."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from models_ml import registry
from models_ml.arrays import Bools, Floats, Ints
from models_ml.encoders.items import item_encoder
from models_ml.recorded_labels import recorded_label
from models_ml.types import Contents, Encoder, Judgement, LabelSpec


@dataclass(frozen=True)
class Machine:
    """Recorded machine labels of N items with K classes; all that a replay needs to know of a dataset.

    truth int64[N]; silver int64[N], K = no valid answer; p_llm float64[N, K], NaN rows where the confidence
    is unknown; p_oof float64[N, K], out of fold; fold int64[N]; answerable bool[N], False = people give up.
    """

    truth: Ints
    silver: Ints
    p_llm: Floats
    p_oof: Floats
    fold: Ints
    answerable: Bools

    def take(self, rows: Ints) -> "Machine":
        return Machine(**{name: column[rows] for name, column in vars(self).items()})


def synthetic(
    generator: np.random.Generator, items: int = 2000, n_classes: int = 5, unanswerable: float = 0.0
) -> Machine:
    """Synthetic machines: the LLM is right on about 87.5 % of the items, the model on 89 %, often the same ones."""
    truth = generator.integers(0, n_classes, items)
    # Most items are easy, some hopeless; 4.8 and 1.5 give those accuracies (2 % of calls fail) and
    # probabilities that mean about what they say.
    difficulty = generator.beta(1.2, 2.2, items)
    shared = generator.normal(size=(items, n_classes))  # errors that both machines share
    signal = 4.8 * (1 - difficulty)[:, None] * np.eye(n_classes)[truth]

    def machine() -> Floats:
        own = generator.normal(size=(items, n_classes))
        return np.asarray(softmax(1.5 * (signal + np.sqrt(0.6) * shared + np.sqrt(0.4) * own), axis=1))

    p_llm, p_oof = machine(), machine()
    silver = p_llm.argmax(axis=1)
    failed = generator.random(items) < 0.02
    silver[failed], p_llm[failed] = n_classes, np.nan
    # People give up on hard items.
    answerable = generator.random(items) >= unanswerable * difficulty / difficulty.mean()
    return Machine(truth, silver, p_llm, p_oof, generator.integers(0, 5, items), answerable)


def recorded(generator: np.random.Generator, machine: Machine, items: int, unanswerable: float) -> Machine:
    """A random sample of `items` items of a recorded machine, or all if it has no more."""
    rows = generator.permutation(len(machine.truth))[:items]
    return replace(machine.take(rows), answerable=generator.random(len(rows)) >= unanswerable)


def load(path: Path) -> Machine:
    """The arrays truth, silver, p_llm, p_oof and fold of an .npz file."""
    with np.load(path) as file:
        columns = {name: file[name] for name in ("truth", "silver", "p_llm", "p_oof", "fold")}
    return Machine(**columns, answerable=np.ones(len(columns["truth"]), dtype=np.bool_))


def record(paths: Sequence[Path], items: int, encoder_name: str, noisy_field: str | None, seed: int) -> Machine:
    """Ask the offline annotator, or read `noisy_field`, and train a model out of fold on a sample of the files.

    The model trains on silver and on the gold of 120 random items, as after the product's five rounds of 100.
    """
    from models_ml.training.crossfit import train
    from models_ml.training.snapshot import Snapshot

    generator = np.random.default_rng(seed)
    rows = rows_of(paths)
    rows = [rows[i] for i in generator.permutation(len(rows))[:items]]
    names = sorted({row["label"] for row in rows})
    truth = np.array([names.index(row["label"]) for row in rows])
    encoder = registry.encoder(encoder_name)
    contents = [contents_of(row) for row in rows]
    x = item_encoder(encoder, "text" if len(contents[0]) == 1 else "pair").encode(contents)
    specs = labels_of(names, paths[0].resolve().parent.name)
    silver, p_llm = silver_of(rows, specs, encoder, noisy_field)
    fold = generator.integers(0, 5, len(rows))
    reference = np.zeros(len(rows), dtype=np.bool_)
    reference[generator.permutation(len(rows))[:120]] = True
    version = train(Snapshot(x, fold, silver, np.where(reference, truth, -1), reference, len(names)))
    p_oof = version.predict_out_of_fold(x, fold).astype(np.float64)
    return Machine(truth, silver, p_llm, p_oof, fold, np.ones(len(rows), dtype=np.bool_))


def rows_of(paths: Sequence[Path]) -> list[dict[str, str]]:
    """The rows of JSON Lines files, .gz or not, that have a label and all their texts."""
    rows = []
    for path in paths:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    return [row for row in rows if row.get("label") is not None and all(text.strip() for text in contents_of(row))]


def labels_of(names: list[str], dataset: str) -> list[LabelSpec]:
    """The labels as benchmarks/labels describes them, else by their names alone."""
    file = Path(__file__).parent / "labels" / f"{dataset}.json"
    known = {label["name"]: label for label in json.loads(file.read_text())["labels"]} if file.exists() else {}
    nothing: dict[str, Any] = {}
    return [
        LabelSpec(name, label.get("definition", ""), tuple(label.get("examples", ())))
        for name, label in ((name, known.get(name, nothing)) for name in names)
    ]


def contents_of(row: Mapping[str, Any]) -> Contents:
    """The content of a row: a text, or the two texts of a pair."""
    return (row["text"],) if "text" in row else (row["text_a"], row["text_b"])


def silver_of(
    rows: Sequence[dict[str, str]], specs: list[LabelSpec], encoder: Encoder, noisy_field: str | None
) -> tuple[Ints, Floats]:
    """Machine labels int[n], K: no valid answer, and their distributions float[n, K], NaN where unknown."""
    names, k = [spec.name for spec in specs], len(specs)
    silver, p_llm = np.full(len(rows), k), np.full((len(rows), k), np.nan)
    if noisy_field is not None:  # a text that is no class name is no valid answer; confidences are unknown
        given = [recorded_label(row, noisy_field) for row in rows]
        return np.array([names.index(label) if label in names else k for label in given]), p_llm
    answers = registry.annotator(encoder=encoder).annotate([contents_of(row) for row in rows], labels=specs)
    for i, answer in enumerate(answers):
        if isinstance(answer, Judgement):
            silver[i], p_llm[i] = answer.label, answer.probabilities
    return silver, p_llm
