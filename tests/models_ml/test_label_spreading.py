import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.semi_supervised import LabelSpreading

from models_ml import label_spreading
from models_ml.label_spreading import neighbour_graph, spread


def make_items(seed, n=30, d=4):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x, np.where(rng.random(n) < 0.4, rng.integers(0, 3, n), -1)


class TestGraph:
    def test_three_items_by_hand(self):
        x = np.float32([[1, 0], [3, 4], [0, 2]])  # cosines .6 (first, second), 0 (first, third), .8 (second, third)
        expected = [[0, 0.6, 0], [0.6, 0, 0.8], [0, 0.8, 0]]
        np.testing.assert_allclose(neighbour_graph(x, 1).toarray(), expected, atol=1e-6)
        np.testing.assert_allclose(neighbour_graph(x, 9).toarray(), expected, atol=1e-6)

    def test_blocks_change_nothing(self, monkeypatch):
        x, _ = make_items(0)
        whole = neighbour_graph(x, 4).toarray()
        monkeypatch.setattr(label_spreading, "BLOCK", 70)
        np.testing.assert_allclose(neighbour_graph(x, 4).toarray(), whole, atol=1e-6)

    @pytest.mark.parametrize("n", [0, 1])
    def test_nothing_to_join(self, n):
        assert neighbour_graph(np.ones((n, 2), np.float32), 3).shape == (n, n)

    def test_an_item_without_direction_has_no_neighbours(self):
        x = np.float32([[0, 0], [1, 0], [1, 1]])
        graph = neighbour_graph(x, 2).toarray()
        assert (graph[0] == 0).all() and graph[1, 2] > 0.7


class TestSpread:
    def test_two_items_by_hand(self):
        graph = sparse.csr_array(np.array([[0, 3.0], [3.0, 0]]))
        arrived = spread(graph, np.array([[1.0, 0], [0, 0]]), 0.5)
        np.testing.assert_allclose(arrived, [[2 / 3, 0], [1 / 3, 0]], atol=1e-5)

    def test_it_is_what_scikit_learn_finds(self):
        x, y = make_items(1)
        graph = neighbour_graph(x, 5)
        theirs = LabelSpreading(kernel=lambda a, b: graph.toarray(), alpha=0.8, max_iter=1000, tol=1e-9).fit(x, y)
        ours = spread(graph, np.eye(4)[y][:, :3], 0.8)
        ours /= ours.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(ours, theirs.label_distributions_, atol=1e-4)

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 1000), st.floats(0.05, 0.95))
    def test_it_is_the_limit_in_closed_form(self, seed, alpha):
        x, y = make_items(seed, n=12)
        graph = neighbour_graph(x, 3)
        w, labels = graph.toarray(), np.eye(4)[y][:, :3]
        degree = w.sum(axis=1)
        scale = np.diag(np.divide(1, np.sqrt(degree), out=np.zeros(12), where=degree > 0))
        exact = (1 - alpha) * np.linalg.solve(np.eye(12) - alpha * scale @ w @ scale, labels)
        np.testing.assert_allclose(spread(graph, labels, alpha), exact, atol=1e-5)

    def test_no_path_no_label(self):
        arrived = spread(sparse.csr_array((2, 2)), np.array([[1.0, 0], [0, 0]]), 0.9)
        assert arrived[0, 0] > 0 and (arrived[1] == 0).all()

    @pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
    def test_alpha_out_of_range_is_refused(self, alpha):
        with pytest.raises(ValueError, match="alpha must lie between 0 and 1"):
            spread(sparse.csr_array((2, 2)), np.zeros((2, 2)), alpha)
