"""Made-up data for one fit, and fresh items to test it on."""

import numpy as np

from models_ml import methods
from models_ml.methods.contract import TrainingData
from models_ml.noise.transition import direct_transition
from models_ml.seeds import generator


def make_data(n=300, k=3, d=100, noise=0.4, n_gold=15, distance=0.25, seed=0, wrong=None, failed=0.0):
    """n items of k round classes, and 1,000 new ones with their classes.

    noise: the share of silver that `wrong(truth, rng)` replaces, by default by any other class; failed: the share that
    has no valid answer. With as many features as that, a classifier can learn every wrong label by heart.
    """
    rng = np.random.default_rng(seed)
    centres = distance * rng.standard_normal((k, d))
    truth, test = rng.integers(0, k, n), rng.integers(0, k, 1000)
    x, x_test = (_unit(rng.standard_normal((len(y), d)) + centres[y]) for y in (truth, test))
    replaced = (truth + rng.integers(1, k, n)) % k if wrong is None else wrong(truth, rng)
    silver = np.where(rng.random(n) < noise, replaced, truth)
    silver[rng.random(n) < failed] = k
    gold = np.where(np.arange(n) < n_gold, truth, -1)
    transition = direct_transition(gold, silver, k)
    return TrainingData(x, gold, gold >= 0, silver, transition[None], k), x_test, test


def make_groups(seed=0, n=600, k=3, n_gold=24, noise=0.4, failed=0.9):
    """Each class consists of four tight groups far from each other; most silver failed. As make_data otherwise."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4 * k, 20))
    group, of_test = rng.integers(0, 4 * k, n), rng.integers(0, 4 * k, 1000)
    x, x_test = (_unit(centres[g] + 0.35 * rng.standard_normal((len(g), 20))) for g in (group, of_test))
    truth = group % k
    silver = np.where(rng.random(n) < noise, (truth + rng.integers(1, k, n)) % k, truth)
    silver[rng.random(n) < failed] = k
    gold = np.where(np.arange(n) < n_gold, truth, -1)
    transition = direct_transition(gold, silver, k)
    return TrainingData(x, gold, gold >= 0, silver, transition[None], k), x_test, of_test % k


def make_tree(seed=0, n=600, n_gold=24, noise=0.5):
    """Twelve classes in four groups of three; wrong silver names a class of another group, and the graph the groups."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4, 20)).repeat(3, axis=0) + 0.45 * rng.standard_normal((12, 20))
    truth, test = rng.integers(0, 12, n), rng.integers(0, 12, 1000)
    x, x_test = (_unit(centres[y] + 0.35 * rng.standard_normal((len(y), 20))) for y in (truth, test))
    elsewhere = (truth // 3 * 3 + 3 + rng.integers(0, 9, n)) % 12
    silver = np.where(rng.random(n) < noise, elsewhere, truth)
    gold = np.where(np.arange(n) < n_gold, truth, -1)
    graph, transition = np.kron(np.eye(4), np.full((3, 3), 1 / 3)), direct_transition(gold, silver, 12)
    return TrainingData(x, gold, gold >= 0, silver, transition[None], 12, label_graph=graph), x_test, test


def _unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def accuracy(name, problems, **parameters):
    """Mean accuracy on the new items of some problems of the method of this name."""
    method = methods.build(name, parameters)
    return np.mean(
        [(method.fit(data, generator(0)).logits(x).argmax(axis=1) == truth).mean() for data, x, truth in problems]
    )
