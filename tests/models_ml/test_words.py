"""Numbers of words, and the network that averages their vectors."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from models_ml.encoders.words import SLOTS, Vocabulary, words
from models_ml.methods.contract import TrainingData
from models_ml.networks.linear import softmax
from models_ml.networks.words import WordAveragingClassifier, WordAveragingNetwork
from models_ml.seeds import generator
from models_ml.training.loop import Minibatch


class TestWords:
    def test_stop_words_and_marks_are_left_out(self):
        assert words("It's NOT a great film, they don't say; naïve_art 2") == ["great", "film", "say", "naïve_art", "2"]

    def test_nothing_may_be_left(self):
        assert words("it is what it is!") == []


class TestVocabulary:
    def test_the_most_frequent_word_is_number_one(self):
        vocabulary = Vocabulary.of(["red red blue", "blue green green green"])
        assert vocabulary.numbers == {"green": 1, "red": 2, "blue": 3}  # of equal ones the first seen

    def test_only_so_many_words_are_known(self):
        vocabulary = Vocabulary.of(["red red blue green"], size=3)
        assert vocabulary.numbers == {"red": 1, "blue": 2}
        assert vocabulary.encode(["green red"], slots=3).tolist() == [[0, 3, 1]]

    def test_it_pads_and_cuts_at_the_left(self):
        vocabulary = Vocabulary.of(["red red blue"])
        assert vocabulary.encode(["", "blue", "blue red red red"], slots=3).tolist() == [
            [0, 0, 0],
            [0, 0, 2],
            [1, 1, 1],
        ]
        assert vocabulary.encode([]).shape == (0, SLOTS)


@pytest.fixture
def network():
    return WordAveragingNetwork(4, 3, torch.Generator().manual_seed(0))


X = torch.tensor([[0, 0, 5, 9], [3, 3, 3, 10_000], [0, 0, 0, 0], [1, 2, 5, 5]], dtype=torch.int32)


class TestNetwork:
    def test_features_are_the_mean_of_all_slots(self, network):
        table = network.table.detach()
        assert network.features(X)[0].detach().numpy() == pytest.approx(
            ((2 * table[0] + table[5] + table[9]) / 4).numpy(), abs=1e-7
        )

    def test_the_quick_way_is_the_long_way(self, network):
        optimisers = [None, network.optimiser(0.1, 0.01)]
        for optimiser in optimisers:
            quick, long = network.features(X), network.encode(network.embed(X))
            np.testing.assert_allclose(quick.detach(), long.detach(), atol=1e-7)
            if optimiser:
                (network.head(quick).sum() + network.head(long).sum()).backward()
                optimiser.step()
        rows = torch.tensor([1, 2, 3, 5, 9, 10_000])
        assert (
            network.classifier().table[rows]
            != WordAveragingNetwork(4, 3, torch.Generator().manual_seed(0)).table[rows].detach().numpy()
        ).all()

    def test_padding_is_never_trained(self, network):
        before, optimiser = network.table[0].detach().clone(), network.optimiser(0.1, 0.01)
        for way in (network, lambda x: network.head(network.encode(network.embed(x)))):
            optimiser.zero_grad()
            way(X).square().sum().backward()
            optimiser.step()
        assert (network.classifier().table[0] == before.numpy()).all()

    def test_its_classifier_says_the_same(self, network):
        classifier = network.classifier()
        z = classifier.logits(X.numpy())
        np.testing.assert_allclose(z, network(X).detach(), atol=1e-6)
        again = WordAveragingNetwork.load(classifier.state())
        assert isinstance(again, WordAveragingClassifier)
        assert again.logits(X.numpy()).tobytes() == z.tobytes()
        np.testing.assert_allclose(classifier.logits(X.numpy()[1:2]), z[1:2], atol=1e-6)


@dataclass(frozen=True, kw_only=True)
class OnWords(Minibatch):
    name: ClassVar[str] = "on_words"
    network: ClassVar[str] = "words"


def problem(n=300):
    """Texts of five words; the first decides."""
    rng = generator(0, "words")
    x = np.zeros((n, SLOTS), np.int32)
    x[:, -5:] = rng.integers(3, 40, (n, 5))
    truth = rng.integers(0, 2, n)
    x[:, -5] = 1 + truth
    silver = np.where(rng.random(n) < 0.1, 1 - truth, truth)
    nothing = np.full(n, -1)
    return TrainingData(x, nothing, nothing >= 0, silver, np.full((1, 2, 3), 1 / 3), 2), truth


def fit(method, **parameters):
    data, truth = problem()
    return method(**{"epochs": 8, "learning_rate": 0.03, "l2": 1e-4, **parameters}).fit(data, generator(1)), truth


class TestInTheLoop:
    def test_it_learns_as_with_torchs_adam(self):
        class Dense(OnWords):
            def begin(self, data, networks, rng):
                state = super().begin(data, networks, rng)
                groups = state.optimisers[0].param_groups
                networks[0]._rows = None  # so that the whole table has gradients
                groups = [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in groups]
                state.optimisers[:] = [torch.optim.Adam(groups, lr=self.learning_rate)]
                return state

        (lazy, truth), (dense, _) = fit(OnWords), fit(Dense)
        assert (lazy.logits(problem()[0].inputs).argmax(axis=1) == truth).mean() > 0.85
        for name, array in dense.state().items():
            np.testing.assert_allclose(lazy.state()[name], array, atol=1e-4)

    def test_a_constant_rate_is_a_hook(self):
        class Constant(OnWords):
            def rate(self, done):
                return 1.0

        (constant, _), (falling, _) = fit(Constant, epochs=2), fit(OnWords, epochs=2)
        assert np.abs(constant.table - falling.table).max() > 1e-3

    def test_what_is_stored_predicts_the_same(self):
        method = OnWords(epochs=1)
        classifier, x = fit(OnWords, epochs=1)[0], problem()[0].inputs
        p = softmax(method.load(classifier.state()).logits(x))
        assert p.tobytes() == softmax(classifier.logits(x)).tobytes()
