"""The comparison of methods runs on any file, and its figures are those of the labels it was given."""

import json

import numpy as np
import pytest

from benchmarks import methods
from models_ml import registry


class LetterEncoder:
    """Unit vectors that say how a text begins; no model needed."""

    name, fingerprint, dim = "letters", "f" * 64, 2

    def encode(self, texts, progress=None):
        return np.array([[1.0, 0.0] if text.startswith("a") else [0.0, 1.0] for text in texts], np.float32)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """100 items that are easy to tell apart; the machine is wrong on a tenth."""
    monkeypatch.setattr(registry, "encoder", lambda name="minilm": LetterEncoder())
    path = tmp_path / "items.jsonl"
    labels = ["first" if i % 2 else "other" for i in range(100)]
    rows = [
        {"text": f"{'a' if label == 'first' else 'z'} {i}", "label": label, "machine": "other" if i < 20 else label}
        for i, label in enumerate(labels)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_it_prints_a_line_per_method(file, capsys):
    options = ["--noisy", "machine", "--gold", "30", "--seeds", "2", "--methods", "corrected", "gold-only"]
    methods.main(["--train", file, "--test", file, *options])
    head, *lines = capsys.readouterr().out.splitlines()
    assert "100 items, 2 classes, silver right on 0.900; 30 gold, 2 seeds; 100 test items" in head
    assert [line.split()[:3] for line in lines] == [["corrected", "test", "1.000"], ["gold-only", "test", "1.000"]]
