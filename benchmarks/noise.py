"""How well is learned from noisy labels and some gold? Errors of methods on a test file, by rate of noise and seed."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.machines import contents_of, rows_of
from benchmarks.noise_methods import figures, method_names
from benchmarks.noise_problems import Problem, problems
from benchmarks.noise_strata import NONE
from benchmarks.noisy_pools import ENCODERS, Inputs, Noise, Rows, sample_of
from benchmarks.options import numbers_of, seeds_of
from benchmarks.results import Results

FIELDS = """
Prints one JSON object per method, rate and seed:
  method       as asked for
  corruption   uniform, flip, none, length, or the field that the labels were read from
  rate         of wrong labels; a list of rates by bins of lengths; null where labels were read
  gold         how many items had gold: the last ones of a seeded shuffle, the same for all methods and rates
  seed         of the sample, the shuffle, the noise and the fit; methods and rates are paired by it
  error        share of the test items that are predicted wrongly; log_loss (nats) and ece beside it
  seconds      of this method, what it shares with others included
  c_hat        the noise matrix that it used (a list of one, or one per stratum), rows: truth, last column: no valid
               answer; null where it used none
  c_error      how far that is from how the machine labeled the items without gold: half the sum of absolute
               differences in a row, the mean over rows
and what else tells a cell from others: data (a digest of the files), encoder, items, strata, fixed.

Methods on glc-words: default, ce (silver at its word, no gold), ce-with-gold, gold-only, glc, confusion, forward,
forward-gold, distillation, ideal, gce (no gold), and those of the registry that learn from minibatches, each fitted as
published: Adam 5e-4, 5 epochs, batches of 50, gold weighs as silver does. On vectors: those of the registry, as a
project trains them (out of fold, searched; --fixed: with their default parameters); default is what a project gets that
chose nothing, ce is cross-entropy with gold, glc is corrected with GLC's matrix and a gold weight of 1; the other
recipes, and all with --strata, are single fits.
"""
IDENTITY = ("data", "encoder", "items", "corruption", "rate", "gold", "strata", "fixed", "method", "seed")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns how many cells failed; the others are printed all the same."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        names, noises = method_names(options.method, options.encoder), _noises(options)
    except ValueError as error:
        parser.error(str(error))
    _use_threads(options.threads)
    rows, test_rows = rows_of(options.train), rows_of(options.test)
    inputs = Inputs(options.encoder, [*_sampled(rows, options), *test_rows], options.cache)
    results, n_failed = Results(options.results, IDENTITY), 0
    common = {"data": _digest([*rows, *test_rows]), **{name: getattr(options, name) for name in _SHOWN}}
    for problem in problems(rows, test_rows, inputs, noises, options):
        for name in names:
            cell = {"method": name, **_cell_of(problem), **common}
            record = results.get(cell) or _run(problem, cell, results)
            n_failed += record is None
            if record:
                print(json.dumps(record), flush=True)
    return n_failed


def _use_threads(n: int) -> None:
    """One is quickest for small networks, and several wait for each other where others use the cores."""
    import torch

    torch.set_num_threads(n)


_SHOWN = ("encoder", "items", "strata", "fixed")


def _cell_of(problem: Problem) -> dict[str, Any]:
    rate = problem.noise.rate
    return {
        "corruption": problem.noise.corruption,
        "rate": list(rate) if isinstance(rate, tuple) else rate,
        "gold": problem.n_gold,
        "seed": problem.sample.seed,
    }


def _run(problem: Problem, cell: dict[str, Any], results: Results) -> dict[str, Any] | None:
    """The record of a cell, kept; None where the method failed, which is said."""
    name, started = cell["method"], perf_counter()
    where = f"{name} {cell['corruption']} {cell['rate']} gold {cell['gold']} seed {cell['seed']}"
    try:
        found = figures(name, problem.stages, cell["encoder"], single=cell["strata"] != NONE, fixed=cell["fixed"])
    except Exception as error:  # of one method: the others of a long run go on
        print(f"{where}: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    print(f"{where}: error {found['error']:.3f} ({perf_counter() - started:.1f} s)", file=sys.stderr)
    record = {**cell, **found}
    results.add(record)
    return record


def _noises(options: argparse.Namespace) -> list[Noise]:
    """What is to be learned from; ValueError where the options contradict each other."""
    if options.noisy_field:
        return [Noise(options.noisy_field)]
    if options.rate_by:
        kind, _, rates = options.rate_by.partition(":")
        if kind != "length" or len(numbers_of(rates)) != 3:
            raise ValueError("--rate-by takes length: and three rates, as length:.7,.3,.05")
        return [Noise("length", tuple(numbers_of(rates)))]
    if options.corruption == "none":
        return [Noise("none")]
    return [Noise(options.corruption, rate) for rate in options.rate]


def _sampled(rows: Rows, options: argparse.Namespace) -> list[Any]:
    """The rows that some seed takes."""
    taken = sorted({int(i) for seed in options.seeds for i in sample_of(len(rows), options.items, seed)})
    return [rows[i] for i in taken]


def _digest(rows: Rows) -> str:
    text = json.dumps([[*contents_of(row), row["label"]] for row in rows])
    return sha256(text.encode()).hexdigest()[:12]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.noise",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--train", type=Path, nargs="+", required=True, metavar="F", help="JSON Lines with text and label; .gz too")
    add("--test", type=Path, nargs="+", required=True, metavar="F", help="the same, for new items")
    add("--items", type=int, metavar="N", help="a seeded sample of the training files instead of all")
    add("--seeds", type=seeds_of, default=[1, 2, 3], metavar="S", help="5 means 1-5; or 101-110; or 7,9 (default 3)")
    add("--method", default="default,ce,gold-only,glc", metavar="M[,M]", help="default %(default)s; all: every method")
    add("--encoder", choices=ENCODERS, default="minilm", help="default %(default)s")
    gold = parser.add_mutually_exclusive_group(required=True)
    gold.add_argument("--gold-fraction", type=float, metavar="G", help="share of the items that people labeled")
    gold.add_argument("--gold", type=int, metavar="N", help="how many items people labeled")
    noise = parser.add_mutually_exclusive_group()
    noise.add_argument("--corruption", choices=["uniform", "flip", "none"], default="flip", help="default %(default)s")
    noise.add_argument("--rate-by", metavar="length:R,R,R", help="flip rates of 2 and fewer, 3-5, and more words")
    noise.add_argument("--noisy-field", metavar="FIELD", help="labels of a column; annotations:majority, annotations:A")
    add("--rate", type=numbers_of, default=[0.2], metavar="R[,R]", help="of --corruption (default .2)")
    add(
        "--strata",
        default=NONE,
        metavar="S",
        help="none, auto, length, confidence, a field: a noise matrix each",
    )
    add("--fixed", action="store_true", help="on vectors: default parameters instead of a search")
    add("--results", type=Path, metavar="FILE", help="keeps what is found; what is there is not run again")
    add(
        "--threads",
        type=int,
        default=int(os.environ.get("OMP_NUM_THREADS", 1)),
        help="(default: OMP_NUM_THREADS, or 1)",
    )
    add("--cache", type=Path, metavar="DIR", help="keeps vectors (default: a folder beside temporary files)")
    return parser


if __name__ == "__main__":
    sys.exit(min(main(), 1))
