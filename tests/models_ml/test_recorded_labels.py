"""Machine labels that a dataset brings along."""

import pytest

from models_ml.recorded_labels import recorded_label


def row(*labels, **fields):
    said = [{"annotator": f"w{place}", "label": label} for place, label in enumerate(labels)]
    return {"annotations": said, **fields}


@pytest.mark.parametrize(
    ("given", "source", "expected"),
    [
        ({"llm_label": "spam"}, "llm_label", "spam"),
        ({"llm_label": None}, "llm_label", None),
        ({}, "llm_label", None),
        ({"llm_label": 1}, "llm_label", "1"),
        (row("spam", "ham", "spam"), "annotations:majority", "spam"),
        (row("spam", "ham"), "annotations:majority", None),
        (row(), "annotations:majority", None),
        ({}, "annotations:majority", None),
        ({"annotations": 3}, "annotations:majority", None),
        (row("spam", "ham"), "annotations:w1", "ham"),
        (row("spam", "ham"), "annotations:w7", None),
        ({"annotations:w1": "a column of that name"}, "annotations:w1", "a column of that name"),
    ],
)
def test_it_is_what_the_source_said(given, source, expected):
    assert recorded_label(given, source) == expected
