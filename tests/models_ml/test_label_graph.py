"""How classes relate: what of it is refused, and that a fit sees it."""

from dataclasses import replace

import numpy as np
import pytest

from tests.models_ml.problems import make_snapshot


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        (np.eye(4), "3 classes has 3 rows and columns, not \\(4, 4\\)"),
        (np.array([[1.0, 0, 0], [0, 1.5, -0.5], [0, 0, 1]]), "negative or no numbers"),
        (np.array([[1.0, 0, 0], [0, np.nan, 1], [0, 0, 1]]), "negative or no numbers"),
        (np.array([[1.0, 0, 0], [0, 0.5, 0.4], [0, 0, 1]]), "row 1 of the label graph sums to 0.9, not to 1"),
    ],
)
def test_a_graph_that_is_none_is_refused(graph, sentence):
    snapshot, _ = make_snapshot(n=10)
    with pytest.raises(ValueError, match=sentence):
        replace(snapshot, label_graph=graph)
    data = snapshot.training_data(snapshot.fold >= 0, np.full((3, 4), 0.25))
    with pytest.raises(ValueError, match=sentence):
        replace(data, label_graph=graph)


def test_a_fit_sees_it():
    graph = np.full((3, 3), 1 / 3)
    snapshot = replace(make_snapshot(n=10)[0], label_graph=graph)
    data = snapshot.training_data(snapshot.fold != 1, np.full((3, 4), 0.25))
    assert data.label_graph is graph
