"""Measures the offline annotator's accuracy from a list of labels and their short definitions alone."""

import argparse
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.machines import contents_of
from models_ml import metrics, registry
from models_ml.seeds import generator
from models_ml.types import Annotator, Judgement, LabelSpec

CHUNK = 512  # texts between two progress lines

FIELDS = """
Prints one JSON object on one line:
  labels_file  name of the file with the labels
  items        how many texts were annotated and counted; a text without content counts as wrong
  k            number of labels
  accuracy     share of items whose most similar label is the published one, 0..1
  log_loss     mean -log of the score at the published label, in nats; lower is better, ln(k) is guessing
  ece          expected calibration error of the raw scores, 15 equal-width bins, 0..1; before any calibration
  texts_per_s  items divided by the seconds spent on annotating (loading the encoder not counted)
Progress goes to standard error. The same arguments give the same figures, texts_per_s aside.
"""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    labels = read_labels(arguments.labels)
    rows = sample(read_rows(arguments.train), arguments.items, arguments.seed)
    annotator = registry.annotator("offline", encoder=registry.encoder())
    result = measure(annotator, rows, labels)
    print(json.dumps({"labels_file": arguments.labels.name, **result}))


def measure(
    annotator: Annotator, rows: Sequence[dict[str, Any]], labels: Sequence[LabelSpec]
) -> dict[str, float | int]:
    """The figures of FIELDS, for rows with label and text, or text_a and text_b."""
    numbers = {label.name: number for number, label in enumerate(labels)}
    truth = np.array([numbers[row["label"]] for row in rows])
    probabilities = np.zeros((len(rows), len(labels)), dtype=np.float32)  # a failure stays 0 everywhere
    is_valid = np.zeros(len(rows), dtype=bool)
    started = perf_counter()
    for start in range(0, len(rows), CHUNK):
        texts = [contents_of(row) for row in rows[start : start + CHUNK]]
        for row, answer in enumerate(annotator.annotate(texts, labels=labels), start):
            if isinstance(answer, Judgement) and answer.probabilities is not None:
                probabilities[row], is_valid[row] = answer.probabilities, True
        print(f"{start + len(texts)}/{len(rows)}", file=sys.stderr)
    seconds = perf_counter() - started
    is_right = is_valid & (probabilities.argmax(axis=1) == truth)
    return {
        "items": len(rows),
        "k": len(labels),
        "accuracy": round(float(is_right.mean()), 4),
        "log_loss": round(metrics.log_loss(probabilities, truth), 4),
        "ece": round(metrics.ece(probabilities, truth), 4),
        "texts_per_s": round(len(rows) / seconds, 1),
    }


def read_labels(path: Path) -> list[LabelSpec]:
    """Labels with definitions and examples, in the order of the file."""
    rows = json.loads(path.read_text(encoding="utf-8"))["labels"]
    return [LabelSpec(row["name"], row["definition"], tuple(row["examples"])) for row in rows]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file, gzipped or not."""
    raw = path.read_bytes()
    lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def sample(rows: Sequence[dict[str, Any]], items: int | None, seed: int) -> list[dict[str, Any]]:
    """`items` rows drawn at random without replacement; all of them, in order, where None."""
    if items is None or items >= len(rows):
        return list(rows)
    return [rows[row] for row in generator(seed, "zero_shot").permutation(len(rows))[:items]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zero_shot",
        description=__doc__,
        epilog=FIELDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--train", type=Path, required=True, help="JSON Lines with label and text or a pair; .gz too")
    parser.add_argument("--labels", type=Path, required=True, help="JSON file of labels, as in benchmarks/labels")
    parser.add_argument("--items", type=int, help="annotate a random sample of this size (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="seed of that sample (default: %(default)s)")
    return parser


if __name__ == "__main__":
    main()
