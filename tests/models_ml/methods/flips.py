"""A planted case: silver that takes one class for another as often as a matrix says, and the truth of other items."""

from dataclasses import replace

import numpy as np

from models_ml import methods
from models_ml.noise.transition import direct_transition
from models_ml.seeds import generator
from tests.models_ml.planted import accuracy, make_data

# Two classes, one of which the machine takes for the other nearly every second time.
LOPSIDED = ((0.95, 0.05), (0.45, 0.55))
# Three classes; what the machine says of the first is mostly wrong, so that no model of silver can be right about it.
MOSTLY_WRONG = ((0.35, 0.65, 0.0), (0.0, 0.9, 0.1), (0.05, 0.05, 0.9))
# Three classes, four of ten labels wrong, at random.
RANDOM = ((0.6, 0.2, 0.2), (0.2, 0.6, 0.2), (0.2, 0.2, 0.6))


class Flipped:
    """n items around a centre per class, 60 with reference gold, and 1,000 more to be right about."""

    def __init__(self, transition, n=900, d=8, spread=1.5, n_gold=60, seed=0):
        rng, k = np.random.default_rng(seed), len(transition)
        centres = rng.standard_normal((k, d))
        truth = rng.integers(0, k, n + 1000)
        x = rng.standard_normal((n + 1000, d)) + spread * centres[truth]
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        silver = np.array([rng.choice(k, p=transition[y]) for y in truth[:n]])
        gold = np.where(np.arange(n) < n_gold, truth[:n], -1)
        self.data = make_data(x[:n], silver, k, gold, direct_transition(gold, silver, k))
        self.truth_of_data, self.new, self.truth = truth[:n], x[n:], truth[n:]

    def accuracy(self, name, **parameters):
        """The share of new items that a method is right about, with λ and l2 at 1."""
        return accuracy(name, self.data, self.new, self.truth, **parameters)


def fitted_bits(name, data, **parameters):
    """What a method makes of the data, to compare byte for byte."""
    classifier = methods.build(name, parameters).fit(data, generator(0))
    return [array.tobytes() for array in classifier.state().values()]


def takes_failures_for_labels(name, **parameters):
    """Whether it matters to a method that a machine was asked and gave no valid answer."""
    data = Flipped(RANDOM, n=150).data
    failed, never_asked = (np.where(np.arange(150) % 5 == 0, value, data.silver) for value in (3, -1))
    a, b = (fitted_bits(name, replace(data, silver=silver), **parameters) for silver in (failed, never_asked))
    return a != b
