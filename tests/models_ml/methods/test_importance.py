from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_ml.losses import Targets, marginal_likelihood
from models_ml.methods.cross_entropy import CrossEntropy
from models_ml.methods.importance import LARGEST, Importance, clean_posterior, importance_weights
from models_ml.networks.linear import softmax
from models_ml.seeds import generator
from tests.models_ml.methods.flips import LOPSIDED, Flipped


def two_classes(rho_0, rho_1):
    """Ĉ of two classes that are taken for each other at these rates; no failures."""
    return np.array([[1 - rho_0, rho_0, 0.0], [rho_1, 1 - rho_1, 0.0]])


def beta(observed, silver, transition):
    """As published, from P(ỹ | x) to the weights."""
    return importance_weights(clean_posterior(observed, transition), silver, transition[:, silver].T)


class TestFormula:
    def test_two_classes_by_hand(self):
        """ρ_0 = .2, ρ_1 = .1, P(ỹ = 1 | x) = .55: (.55 - .2)/(.7·.55) = 10/11 for ỹ = 1, (.45 - .1)/(.7·.45) for 0."""
        observed = np.array([[0.45, 0.55], [0.45, 0.55]])
        found = beta(np.pad(observed, ((0, 0), (0, 1))), np.array([1, 0]), two_classes(0.2, 0.1))
        np.testing.assert_allclose(found, [10 / 11, 10 / 9])

    def test_a_label_less_likely_than_its_noise_weighs_nothing(self):
        observed = np.array([[0.85, 0.15, 0.0]])  # below ρ_0 = .2: noise alone says 1 more often
        assert beta(observed, np.array([1]), two_classes(0.2, 0.1)).tolist() == [0.0]

    def test_three_classes_by_hand(self):
        """p = (.5, .3, .2) and a machine that says 1 for half of class 0: P(ỹ) = (.25, .55, .2), β = (2, 6/11, 1)."""
        transition = np.array([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
        observed = np.tile([0.25, 0.55, 0.2, 0.0], (3, 1))
        np.testing.assert_allclose(beta(observed, np.arange(3), transition), [2, 6 / 11, 1])

    def test_failures_are_made_up_for_by_answers(self):
        """Half of class 0 fails: P(ỹ) = (.3, .4, .3) of p = (.6, .4), so that an answer 0 stands for two."""
        transition = np.array([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
        observed = np.tile([0.3, 0.4, 0.3], (2, 1))
        np.testing.assert_allclose(beta(observed, np.arange(2), transition), [2, 1])

    @settings(max_examples=50, deadline=None)
    @given(rho=st.tuples(*[st.floats(0.0, 0.45)] * 2), clean=st.floats(0.0, 1.0), label=st.integers(0, 1))
    def test_it_is_the_published_ratio_for_any_rates(self, rho, clean, label):
        transition, p = two_classes(*rho), np.array([1 - clean, clean])
        observed = (p @ transition)[None]
        said = observed[0, label]
        if said > 1e-6:
            published = (said - rho[1 - label]) / ((1 - sum(rho)) * said)
            found = beta(observed, np.array([label]), transition)
            np.testing.assert_allclose(found, np.clip(published, 0, LARGEST), atol=1e-6)

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10_000), k=st.integers(2, 6))
    def test_weighted_silver_is_the_truth_on_average(self, seed, k):
        """Σ_ỹ P(ỹ | x) β(ỹ) 1[ỹ = k] = P(y = k | x): what makes the weighted loss the loss of the truth."""
        rng = np.random.default_rng(seed)
        transition = 0.6 * np.eye(k, k + 1) + 0.4 * rng.dirichlet(np.ones(k + 1), k)
        p = rng.dirichlet(np.ones(k))
        observed = np.tile(p @ transition, (k, 1))
        found = observed[0, :k] * beta(observed, np.arange(k), transition)
        np.testing.assert_allclose(found, p, atol=1e-9)


class TestBadInput:
    @pytest.mark.parametrize(
        ("observed", "silver", "transition", "sentence"),
        [
            ([[0.5, 0.4, 0.0]], [0], two_classes(0.1, 0.1), "probabilities of machine labels must be finite"),
            ([[np.nan, 0.5, 0.5]], [0], two_classes(0.1, 0.1), "probabilities of machine labels must be finite"),
            ([[0.5, 0.5, 0.0]], [0], two_classes(0.1, 0.1) * 2, "rows of the noise matrix"),
            ([[0.5, 0.5, 0.0]], [2], two_classes(0.1, 0.1), r"must lie in 0\.\.1"),  # a failure
            ([[0.5, 0.5, 0.0]], [-1], two_classes(0.1, 0.1), r"must lie in 0\.\.1"),
        ],
    )
    def test_it_is_refused_with_a_sentence(self, observed, silver, transition, sentence):
        with pytest.raises(ValueError, match=sentence):
            beta(np.array(observed), np.array(silver), transition)


def test_each_item_is_weighed_by_the_matrix_of_its_stratum():
    """Where one stratum's machine is known to be right, leaving it out of the other's matrix must change the fit."""
    data = Flipped(LOPSIDED, n=300).data
    honest = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    transitions = np.stack([data.transitions[0], honest])
    of = [replace(data, strata=strata, transitions=transitions) for strata in (np.zeros(300, int), np.ones(300, int))]
    lopsided, trusted = (Importance(l2=1.0).fit(d, generator(0)).weight for d in of)
    plain = CrossEntropy(l2=1.0).fit(data, generator(0)).weight
    np.testing.assert_allclose(trusted, plain, atol=1e-3)  # Ĉ = 1: all weigh 1
    assert np.abs(lopsided - plain).max() > 0.1


def test_it_beats_cross_entropy_where_one_class_is_often_taken_for_the_other():
    case = Flipped(LOPSIDED, seed=1)
    assert case.accuracy("cross-entropy") < 0.8
    assert case.accuracy("importance") > case.accuracy("cross-entropy") + 0.1


def test_a_matrix_that_tells_nothing_apart_weighs_all_alike():
    data = Flipped(LOPSIDED, n=300).data
    uniform = replace(data, transitions=np.full((1, 2, 3), 1 / 3))
    a, b = (Importance(gold_weight=1.0, l2=1.0).fit(d, generator(0)) for d in (uniform, data))
    assert np.isfinite(a.weight).all() and not np.allclose(a.weight, b.weight)


def test_two_classes_with_a_constant_weight_have_the_gradient_of_forward_correction():
    """∇ of β·CE is ∇ of -log (p Ĉ)_ỹ over 1 - ρ_0 - ρ_1: with two classes the minimum is that of forward correction."""
    rng = np.random.default_rng(0)
    transition, z = two_classes(0.3, 0.1), rng.normal(size=(20, 2)).astype(np.float32)
    silver = rng.integers(0, 2, 20)
    p, columns = softmax(z), transition[:, silver].T
    weight = importance_weights(p, silver, columns).astype(np.float32)
    one_hot = np.eye(2, dtype=np.float32)[silver]
    _, weighed = marginal_likelihood(Targets(np.arange(20), one_hot, weight))(z)
    _, forward = marginal_likelihood(Targets(np.arange(20), columns.astype(np.float32), np.ones(20, np.float32)))(z)
    np.testing.assert_allclose(weighed * (1 - 0.3 - 0.1), forward, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_computed_again_serve_better_than_those_of_the_silver_model_alone(seed):
    case = Flipped(LOPSIDED, seed=seed)
    assert case.accuracy("importance", rounds=3) >= case.accuracy("importance", rounds=0)
