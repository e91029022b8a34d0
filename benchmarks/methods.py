"""Which method learns most from the same labels? Trains each on gold and silver of a pool; figures on a test file."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.machines import Floats, Ints, contents_of, labels_of, rows_of, silver_of
from models_ml import methods, metrics, registry
from models_ml.encoders.items import item_encoder
from models_ml.training.crossfit import Snapshot, TrainedVersion, TrainingConfig, train

FIELDS = """
Prints one line per method: accuracy and log-loss on the test file, and accuracy on the pool items without gold, out of
fold, each the mean over the seeds ± its standard error; what the search chose (gold weight/l2) per seed; seconds per
training. Silver is the offline annotator's, or what stands in --noisy. Gold is a random (reference) sample.
"""


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    pool, x_test, test = _read(options)
    print(
        f"{len(pool.x)} items, {pool.n_classes} classes, silver right on {(pool.silver == pool.gold).mean():.3f}; "
        f"{options.gold} gold, {options.seeds} seeds; {len(test)} test items",
        flush=True,
    )
    for name in options.methods:
        figures, chosen = [], []
        for seed in range(options.seeds):
            snapshot, started = _with_gold(pool, options.gold, seed), time.perf_counter()
            version = train(snapshot, TrainingConfig.of(name, seed=seed))
            figures.append([*_measure(version, snapshot, pool.gold, x_test, test), time.perf_counter() - started])
            chosen.append(f"{version.gold_weight:g}/{version.method.l2:g}")
        mean, error = np.mean(figures, axis=0), np.std(figures, axis=0) / max(1, options.seeds - 1) ** 0.5
        print(
            f"{name:14} test {mean[0]:.3f} ± {error[0]:.3f}  log-loss {mean[1]:.3f} ± {error[1]:.3f}  "
            f"pool {mean[2]:.3f} ± {error[2]:.3f}  chosen {', '.join(chosen)}  {mean[3]:.0f} s",
            flush=True,
        )


def _read(options: argparse.Namespace) -> tuple[Snapshot, Floats, Ints]:
    """The pool with the truth as its gold, and the test items."""
    rows, test_rows = rows_of(options.train), rows_of(options.test)
    names = sorted({row["label"] for row in rows})
    truth, test = (np.array([names.index(row["label"]) for row in some]) for some in (rows, test_rows))
    encoder = registry.encoder()
    contents, test_contents = ([contents_of(row) for row in some] for some in (rows, test_rows))
    items = item_encoder(encoder, "text" if len(contents[0]) == 1 else "pair")
    specs = labels_of(names, options.train[0].resolve().parent.name)
    silver, probability = silver_of(rows, specs, encoder, options.noisy)
    nowhere = np.zeros(len(rows), np.int64)
    pool = Snapshot(
        items.encode(contents), nowhere, silver, truth, nowhere > 0, len(names), probability.astype(np.float32)
    )
    return pool, items.encode(test_contents), test


def _with_gold(pool: Snapshot, n_gold: int, seed: int) -> Snapshot:
    """The pool with folds, and with the gold of a random sample alone."""
    generator, n = np.random.default_rng(seed), len(pool.x)
    fold, reference = generator.integers(0, 5, n), np.zeros(n, np.bool_)
    reference[generator.permutation(n)[:n_gold]] = True
    return replace(pool, fold=fold, gold=np.where(reference, pool.gold, -1), reference=reference)


def _measure(
    version: TrainedVersion, snapshot: Snapshot, truth: Ints, x_test: Floats, test: Ints
) -> tuple[float, float, float]:
    predicted, rest = version.predict_new(x_test), snapshot.gold < 0
    out_of_fold = version.predict_out_of_fold(snapshot.x, snapshot.fold)
    return (
        metrics.accuracy(predicted, test),
        metrics.log_loss(predicted, test),
        metrics.accuracy(out_of_fold[rest], truth[rest]),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.methods",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [description.name for description in methods.describe()]
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="JSON Lines with text and label; .gz too")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="the same, for new items")
    parser.add_argument("--noisy", metavar="FIELD", help="a column of --train that holds the machine's labels")
    parser.add_argument("--gold", type=int, default=100, help="gold items (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions (default %(default)s)")
    parser.add_argument("--methods", nargs="+", default=names, choices=names, help="(default: all)")
    return parser


if __name__ == "__main__":
    main()
