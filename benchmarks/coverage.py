"""Measures how often 95 % intervals hold the truth, by replays of projects where every true label is known.

Each replay has its own secret key, and so its own audit and reference samples. The machines' labels are recorded
beforehand (from files) or synthetic, so that thousands of replays take minutes.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks.machines import Machine, load, record, recorded, synthetic
from benchmarks.options import seeds_of
from benchmarks.replays import PRODUCT, Outcome, Setup, replay
from models_ml.intervals import wilson

Source = Callable[[np.random.Generator], Machine]


def outcomes(source: Source, setup: Setup, seed: int, replays: int, workers: int = 1) -> Iterator[Outcome]:
    """The figures of `replays` replays; they do not depend on the number of workers."""
    seeds = np.random.SeedSequence(seed).spawn(replays)
    chunks = [seeds[start : start + 20] for start in range(0, replays, 20)]
    work = partial(_replay_chunk, source, setup)
    if workers <= 1:
        yield from _counted(map(work, chunks), replays)
        return
    with ProcessPoolExecutor(workers) as executor:
        yield from _counted(executor.map(work, chunks), replays)


def summarize(found: Iterable[Outcome]) -> list[dict[str, object]]:
    """One row per estimand and way of estimating, in the order of appearance."""
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in found:
        groups[outcome.estimand, outcome.mode].append(outcome)
    return [_row(estimand, mode, group) for (estimand, mode), group in groups.items()]


def _row(estimand: str, mode: str, group: Sequence[Outcome]) -> dict[str, object]:
    n, covered = len(group), sum(outcome.covered for outcome in group)
    low, high = wilson(covered, n)
    row: dict[str, object] = {"estimand": estimand, "mode": mode, "n": n, "coverage": round(covered / n, 4)}
    row |= {"low": round(low, 4), "high": round(high, 4)}
    for key, field in (
        ("mean_width", "width"),
        ("oracle_width", "oracle_width"),
        ("plain_width", "plain_width"),
    ):
        row[key] = round(float(np.nanmean([getattr(outcome, field) for outcome in group])), 5)
    row["bias"] = round(float(np.mean([outcome.error for outcome in group])), 5)
    return row if mode == PRODUCT else {**row, "mode": "control", "control": mode}


def _replay_chunk(source: Source, setup: Setup, seeds: Sequence[np.random.SeedSequence]) -> tuple[int, list[Outcome]]:
    found = []
    for seed in seeds:
        generator = np.random.default_rng(seed)
        found += replay(source(generator), generator, setup)
    return len(seeds), found


def _counted(chunks: Iterable[tuple[int, list[Outcome]]], replays: int) -> Iterator[Outcome]:
    done = 0
    for count, found in chunks:
        done += count
        print(f"{done} of {replays} replays", file=sys.stderr, end="\r" if done < replays else "\n")
        yield from found


FIELDS = """\
Prints one JSON object per estimand and mode on standard output, progress on standard error. All shares are
fractions of 1.

estimand     llm, model: accuracy on the pool; delivered: accuracy of the export (gold, else machine);
             c_hat: diagonal entries of the estimated confusion matrix, one per class and replay
mode         product, or control
control      only in controls, which must fail:
             active         items that were chosen actively are passed off as the audit sample
             leftover       the audit is drawn anew each round from what is left; active skips audited items
             fit-on-audit   the machine label is fitted and chosen on the audit sample it is then judged by
n            intervals that were checked (replays; for c_hat replays times classes)
coverage     share of them that hold the truth; low, high: Wilson's 95 % interval of that share
mean_width   mean width of the intervals, high - low
oracle_width mean width of a normal interval with the true variance, stratified by ten bins of the machine's
             certainty whose true shares are known: what nobody can have
plain_width  the same without strata: what the sampling design allows to somebody who knows the true share
bias         mean of estimate - truth
"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    method = None if options.interval == PRODUCT else options.interval
    setup = Setup(options.rounds, options.batch, method, options.refit)
    found = (
        outcome
        for seed in options.seeds
        for outcome in outcomes(_source(options, seed), setup, seed, options.replays, options.workers)
    )
    for row in summarize(found):
        print(json.dumps(row), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--replays", type=int, default=1000, metavar="N", help="replays per seed (default 1000)")
    add("--seeds", type=seeds_of, default=[1], metavar="S", help="5 means 1-5; or 101-110; or 7,9 (default 1)")
    add("--items", type=int, default=2000, metavar="N", help="items in the pool (default 2000)")
    add("--rounds", type=int, default=5, help="rounds per replay (default 5)")
    add("--batch", type=int, default=100, help="questions per round (default 100)")
    add("--interval", choices=[PRODUCT, "wilson", "exact"], default=PRODUCT, help="default: as the product chooses")
    add("--unanswerable", type=float, default=0.0, metavar="P", help="share of items that people give up")
    add("--refit", action="store_true", help="fit the combiner after each round, not only at the end (slower)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    add("--train", type=Path, nargs="+", metavar="F", help="JSON Lines files instead of synthetic items")
    add("--data", type=Path, metavar="DIR", help="folder that --train paths are relative to")
    add("--noisy-field", metavar="FIELD", help="take the machine's labels from this field of the files")
    add("--encoder", default="minilm", help="for --train (default minilm)")
    add("--machine", type=Path, metavar="NPZ", help="recorded arrays truth, silver, p_llm, p_oof, fold")
    add("--cache", type=Path, default=Path("var/cache/coverage"), help="where recorded arrays are kept")
    return parser


def _source(options: argparse.Namespace, seed: int) -> Source:
    if options.machine:
        machine = load(options.machine)
    elif options.train:
        machine = _cached(options, seed)
    else:
        return partial(synthetic, items=options.items, unanswerable=options.unanswerable)
    return partial(recorded, machine=machine, items=options.items, unanswerable=options.unanswerable)


def _cached(options: argparse.Namespace, seed: int) -> Machine:
    paths = [options.data / path if options.data else path for path in options.train]
    facts = [*map(str, paths), options.items, options.encoder, options.noisy_field, seed]
    name = sha256(json.dumps(facts).encode()).hexdigest()[:16]
    file = options.cache / f"{name}.npz"
    if not file.exists():
        print(f"recording machine labels in {file}", file=sys.stderr)
        machine = record(paths, options.items, options.encoder, options.noisy_field, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **{name: column for name, column in vars(machine).items() if name != "answerable"})
    return load(file)


if __name__ == "__main__":
    main()
