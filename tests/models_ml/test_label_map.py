"""Labels of one version read under a later one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.label_map import LabelMap


def label_map(target, *, void=(), opaque=(), n):
    k = len(target)
    return LabelMap(
        np.array(target),
        np.array([label not in void for label in range(k)]) & (np.array(target) >= 0),
        np.array([label not in opaque for label in range(k)]),
        n,
    )


RENAMED = LabelMap.identity(3)
REORDERED = label_map([2, 0, 1], n=3)
MERGED = label_map([0, 1, 1], n=2)
SPLIT = label_map([0, 1, 3], void=[2], opaque=[2], n=4)  # 2 becomes 2 and 3, its silver reads as 3
RETIRED = label_map([0, 1, -1], n=2)
ADDED = label_map([0, 1, 2], void=[0, 2], n=4)  # 3 takes from 0 and 2
VECTORS = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], dtype=np.float32)


class TestGold:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (RENAMED, [0, 1, 2, -1]),
            (REORDERED, [2, 0, 1, -1]),
            (MERGED, [0, 1, 1, -1]),
            (SPLIT, [0, 1, -1, -1]),
            (RETIRED, [0, 1, -1, -1]),
            (ADDED, [-1, 1, -1, -1]),
        ],
    )
    def test_it_reads_as_the_rules_say(self, change, expected):
        assert change.gold(np.array([0, 1, 2, -1])).tolist() == expected


class TestSilver:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (REORDERED, [2, 0, 1, 3, -1]),
            (MERGED, [0, 1, 1, 2, -1]),
            (SPLIT, [0, 1, 3, 4, -1]),
            (RETIRED, [0, 1, 2, 2, -1]),
            (ADDED, [0, 1, 2, 4, -1]),
        ],
    )
    def test_labels_are_never_dropped(self, change, expected):
        assert change.silver(np.array([0, 1, 2, 3, -1])).tolist() == expected

    def test_merged_probabilities_add_up(self):
        assert MERGED.probabilities(VECTORS, np.array([0, 2])) == pytest.approx(np.array([[0.5, 0.5], [0.1, 0.9]]))

    def test_a_new_label_gets_none(self):
        assert ADDED.probabilities(VECTORS, np.array([0, 2]))[:, 3].tolist() == [0, 0]

    def test_a_split_label_leaves_its_own_rows_unknown(self):
        moved = SPLIT.probabilities(VECTORS, np.array([0, 2]))
        assert moved[0] == pytest.approx([0.5, 0.3, 0, 0.2])
        assert np.isnan(moved[1]).all()

    def test_a_retired_label_leaves_its_probability_to_the_others(self):
        moved = RETIRED.probabilities(VECTORS, np.array([0, 2]))
        assert moved[0] == pytest.approx([0.625, 0.375])
        assert np.isnan(moved[1]).all()

    def test_an_unknown_distribution_stays_unknown(self):
        unknown = np.full((1, 3), np.nan, dtype=np.float32)
        assert np.isnan(MERGED.probabilities(unknown, np.array([0]))).all()

    def test_vectors_of_another_length_are_refused(self):
        with pytest.raises(ValueError, match="3 labels"):
            MERGED.probabilities(np.ones((1, 2), dtype=np.float32), np.array([0]))


class TestModels:
    @pytest.mark.parametrize(
        ("change", "kept"),
        [(RENAMED, True), (REORDERED, True), (MERGED, True), (SPLIT, False), (RETIRED, False), (ADDED, False)],
    )
    def test_only_moved_and_merged_labels_keep_them(self, change, kept):
        assert change.keeps_models is kept

    def test_a_changed_meaning_leaves_them_behind(self):
        assert not label_map([0, 1, 2], void=[1], n=3).keeps_models

    def test_columns_move_with_their_labels(self):
        assert REORDERED.predictions(VECTORS)[0] == pytest.approx([0.3, 0.2, 0.5])

    def test_a_model_left_behind_predicts_nothing(self):
        with pytest.raises(ValueError, match="train again"):
            SPLIT.predictions(VECTORS)


@st.composite
def maps(draw, k=None):
    k = draw(st.integers(2, 5)) if k is None else k
    n = draw(st.integers(2, 5))
    target = draw(st.lists(st.integers(-1, n - 1), min_size=k, max_size=k))
    void = draw(st.sets(st.integers(0, k - 1)))
    opaque = draw(st.sets(st.integers(0, k - 1)))
    return label_map(target, void=void, opaque=opaque, n=n)


class TestComposition:
    @given(st.data())
    def test_two_changes_at_once_are_one_after_the_other(self, data):
        first = data.draw(maps())
        second = data.draw(maps(k=first.n_classes))
        both = first.then(second)
        labels = np.arange(-1, len(first.target))
        assert both.gold(labels).tolist() == second.gold(first.gold(labels)).tolist()
        silver = np.arange(-1, len(first.target) + 1)
        assert both.silver(silver).tolist() == second.silver(first.silver(silver)).tolist()

    @given(maps())
    def test_the_identity_changes_nothing(self, change):
        whole = LabelMap.identity(len(change.target)).then(change)
        assert whole.target.tolist() == change.target.tolist()
        assert whole.keeps_gold.tolist() == change.keeps_gold.tolist()

    def test_maps_that_do_not_meet_are_refused(self):
        with pytest.raises(ValueError, match="cannot follow"):
            MERGED.then(REORDERED)

    @given(maps(), st.integers(0, 2**32 - 1))
    def test_distributions_stay_distributions_or_unknown(self, change, seed):
        vectors = np.random.default_rng(seed).dirichlet(np.ones(len(change.target)), size=4).astype(np.float32)
        moved = change.probabilities(vectors, vectors.argmax(axis=1))
        known = ~np.isnan(moved).any(axis=1)
        assert moved[known].sum(axis=1) == pytest.approx(np.ones(known.sum()), abs=1e-5)
        assert (moved[known] >= 0).all()
