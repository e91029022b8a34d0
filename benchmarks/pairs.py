"""Compares ways to make one vector of a pair of texts, by the product's own training on gold."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machines import contents_of
from benchmarks.zero_shot import read_rows, sample
from models_ml import metrics, registry
from models_ml.arrays import Vectors
from models_ml.encoders.items import joined
from models_ml.training.crossfit import Snapshot, TrainingConfig, train

FIELDS = """
Prints one line per representation: accuracy with its standard error over the seeds, and log-loss. Each seed draws folds
and --labels gold items; the items without gold are predicted by heads that did not see their fold (all of them, where
fewer than half as many are left). joined: both texts as one; a, b: their vectors, with the weight before them.
--halves makes pairs of the halves of single texts: "own" of the same text, "other" b of a random other one, so that the
label speaks of a alone. It shows whether what the texts say is still there beside how they relate.
"""


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    rows = [row for path in options.train for row in read_rows(path)]
    rows = sample(rows, options.items, seed=1)
    pairs = _halves(rows, options.halves == "other") if options.halves else [contents_of(row) for row in rows]
    names = sorted({row["label"] for row in rows})
    truth = np.array([names.index(row["label"]) for row in rows])
    print(f"{len(rows)} pairs, {len(names)} labels, most frequent {np.bincount(truth).max() / len(rows):.3f}")
    encoder = registry.encoder()
    a, b = encoder.encode([a for a, _ in pairs]), encoder.encode([b for _, b in pairs])
    for name, x in representations(a, b, encoder.encode([joined(pair) for pair in pairs])).items():
        figures = np.array([measure(x, truth, options.labels, seed) for seed in range(options.seeds)])
        mean, error = figures.mean(axis=0), figures.std(axis=0) / len(figures) ** 0.5
        print(f"{name:26} accuracy {mean[0]:.3f} ± {error[0]:.3f}   log-loss {mean[1]:.3f}", flush=True)


def representations(a: Vectors, b: Vectors, whole: Vectors) -> dict[str, Vectors]:
    """Ways to write n pairs as vectors float32 (n, ·), from the unit vectors of both texts and of the joined one."""
    relation = np.hstack([np.abs(a - b), a * b])
    ways = {"joined": whole, "[a, b]": np.hstack([a, b]), "[|a-b|, a*b]": relation}
    for weight in (1, 0.5, 0.25):
        ways[f"[{weight} a, {weight} b, |a-b|, a*b]"] = np.hstack([weight * a, weight * b, relation])
    ways["[0.5 joined, |a-b|, a*b]"] = np.hstack([0.5 * whole, relation])
    return {name: np.ascontiguousarray(x, np.float32) for name, x in ways.items()}


def measure(x: Vectors, truth: NDArray[np.int64], labels: int, seed: int) -> tuple[float, float]:
    """Accuracy and log-loss of one training on `labels` gold items."""
    generator = np.random.default_rng(seed)
    n, k = len(truth), int(truth.max()) + 1
    fold, has_gold = generator.integers(0, 5, n), np.zeros(n, dtype=np.bool_)
    has_gold[generator.permutation(n)[:labels]] = True
    gold = np.where(has_gold, truth, -1)
    version = train(Snapshot(x, fold, np.full(n, -1), gold, has_gold, k), TrainingConfig(method="gold_only"))
    rest = ~has_gold if 2 * (~has_gold).sum() >= labels else np.ones(n, dtype=np.bool_)
    predicted = version.predict_out_of_fold(x[rest], fold[rest])
    return metrics.accuracy(predicted, truth[rest]), metrics.log_loss(predicted, truth[rest])


def _halves(rows: Sequence[dict[str, str]], is_other: bool) -> list[tuple[str, str]]:
    words = [row["text"].split() for row in rows]
    second = [" ".join(text[len(text) // 2 :]) for text in words]
    order = np.random.default_rng(1).permutation(len(rows)) if is_other else range(len(rows))
    return [(" ".join(text[: len(text) // 2]), second[other]) for text, other in zip(words, order, strict=True)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pairs",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="JSON Lines with pairs and label; .gz too")
    parser.add_argument("--items", type=int, default=1_500, help="a random sample of them (default %(default)s)")
    parser.add_argument("--labels", type=int, default=400, help="gold items (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions (default %(default)s)")
    parser.add_argument("--halves", choices=["own", "other"], help="make pairs of single texts")
    return parser


if __name__ == "__main__":
    main()
