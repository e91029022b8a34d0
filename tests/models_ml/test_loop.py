"""The minibatch loop carries methods of every kind that papers need, through whole trainings."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from models_ml import methods, registry
from models_ml.losses import marginal_losses
from models_ml.methods.contract import Need, parameter
from models_ml.networks.linear import softmax
from models_ml.seeds import generator
from models_ml.training.crossfit import TrainedVersion, TrainingConfig, train
from models_ml.training.loop import Minibatch, State
from tests.models_ml.problems import make_snapshot


@dataclass(frozen=True, kw_only=True)
class Plain(Minibatch):
    """Nothing overridden: the loop's own way."""

    name: ClassVar[str] = "plain"


@dataclass(frozen=True, kw_only=True)
class PlainCorrected(Minibatch):
    name: ClassVar[str] = "plain_corrected"
    needs: ClassVar = frozenset({Need.NOISE_MATRIX})


@dataclass(frozen=True, kw_only=True)
class TwoNetworks(Minibatch):
    """As co-teaching (Han et al. 2018): each network learns from the items that the other finds easiest."""

    name: ClassVar[str] = "two_networks"
    n_networks: ClassVar[int] = 2

    kept: float = parameter(0.8, "The share of a batch that is kept.", low=0.1, high=1.0)
    grid: ClassVar = {**Minibatch.grid, "kept": (0.6, 0.9)}

    def step(self, state, networks, batch, rng):
        losses = [marginal_losses(network(batch.x), batch.likelihood) for network in networks]
        n = max(1, int(self.kept * len(batch.rows)))
        easy = [loss.detach().argsort()[:n] for loss in losses]
        return [losses[0][easy[1]].mean(), losses[1][easy[0]].mean()]


@dataclass(frozen=True, kw_only=True)
class MetaGradient(Minibatch):
    """As L2R (Ren et al. 2018): an item weighs what a step on it would do for a batch of reference gold."""

    name: ClassVar[str] = "meta_gradient"

    def step(self, state, networks, batch, rng):
        (network,), reference = networks, batch.reference_batch()
        losses = marginal_losses(network(batch.x), batch.likelihood)
        if reference is None:
            return [losses.mean()]
        weight = torch.zeros(len(losses), requires_grad=True)
        now = dict(network.head.named_parameters())
        gradients = torch.autograd.grad((weight * losses).sum(), list(now.values()), create_graph=True)
        moved = {key: value - gradient for (key, value), gradient in zip(now.items(), gradients, strict=True)}
        logits = torch.func.functional_call(network.head, moved, (network.features(reference.x),))
        (effect,) = torch.autograd.grad(marginal_losses(logits, reference.likelihood).mean(), weight)
        helpful = (-effect).clamp_min(0)
        state.memory["n_steps"] = state.memory.get("n_steps", 0) + 1
        losses = marginal_losses(network(batch.x), batch.likelihood)
        return [(helpful / helpful.sum().clamp_min(1e-8) * losses).sum()]


@dataclass(frozen=True, kw_only=True)
class LabelMemory(Minibatch):
    """As label-correcting methods: each item's likelihood moves to a running mean of what was predicted for it."""

    name: ClassVar[str] = "label_memory"

    def begin(self, data, networks, rng):
        state = super().begin(data, networks, rng)
        return State(state.optimisers, {"p": torch.full((len(data.gold), data.n_classes), 1 / data.n_classes)})

    def epoch(self, state, networks, score_all, epoch):
        state.memory["p"] = 0.7 * state.memory["p"] + 0.3 * score_all(networks[0]).softmax(dim=1)

    def step(self, state, networks, batch, rng):
        p = state.memory["p"][batch.rows]
        share = 0.0 if batch.epoch < 3 else 0.5
        likelihood = torch.where(batch.is_gold[:, None], batch.likelihood, (1 - share) * batch.likelihood + share * p)
        return [(batch.weight * marginal_losses(networks[0](batch.x), likelihood)).mean()]


@dataclass(frozen=True, kw_only=True)
class OwnParameters(Minibatch):
    """As noise layers: a matrix of the method's own is learned with an optimiser of its own."""

    name: ClassVar[str] = "own_parameters"

    def begin(self, data, networks, rng):
        state = super().begin(data, networks, rng)
        layer = torch.eye(data.n_classes).mul(3).requires_grad_()
        return State([*state.optimisers, torch.optim.SGD([layer], lr=0.1)], {"layer": layer})

    def step(self, state, networks, batch, rng):
        p = networks[0](batch.x).softmax(dim=1) @ state.memory["layer"].softmax(dim=1)
        return [-(p * batch.likelihood).sum(dim=1).clamp_min(1e-8).log().mean()]


EVERY = [Plain, PlainCorrected, TwoNetworks, MetaGradient, LabelMemory, OwnParameters]


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for method in EVERY:
        monkeypatch.setitem(registry.METHODS, method.name, f"{__name__}:{method.__name__}")


def config_of(method, **parameters):
    return TrainingConfig.of(method.name, {"gold_weight": 5.0, "l2": 1.0, "epochs": 12, **parameters})


def data_of(snapshot):
    return snapshot.training_data(snapshot.fold >= 0, np.full((3, 4), 0.25))


@pytest.mark.parametrize("method", EVERY)
class TestEveryKind:
    def test_it_learns_out_of_fold_and_survives_being_stored(self, method):
        snapshot, truth = make_snapshot()
        version = train(snapshot, config_of(method))
        p = version.predict_out_of_fold(snapshot.x, snapshot.fold)
        assert (p.argmax(axis=1) == truth).mean() > 0.75
        again = TrainedVersion.from_arrays(*version.to_arrays())
        assert again.method == version.method
        assert again.predict_out_of_fold(snapshot.x, snapshot.fold).tobytes() == p.tobytes()

    def test_the_same_seed_gives_the_same_logits(self, method):
        snapshot, _ = make_snapshot()
        built, data = config_of(method).build(), data_of(snapshot)
        a, b, other = (built.fit(data, generator(seed)).logits(snapshot.x).tobytes() for seed in (1, 1, 2))
        assert a == b != other

    def test_nothing_to_learn_from_is_no_error(self, method):
        snapshot, _ = make_snapshot()
        nothing = np.full(400, -1)
        built = config_of(method).build()
        z = built.fit(data_of(replace(snapshot, gold=nothing, silver=nothing)), generator(0)).logits(snapshot.x)
        assert np.isfinite(z).all()


def test_it_finds_the_minimum_that_full_batches_find():
    snapshot, _ = make_snapshot()
    data, parameters = data_of(snapshot), {"gold_weight": 5.0, "l2": 1.0}
    exact = methods.build("cross-entropy", parameters).fit(data, generator(0))
    steps = methods.build("plain", {**parameters, "epochs": 100, "batch_size": 64}).fit(data, generator(0))
    p, q = (softmax(classifier.logits(snapshot.x)) for classifier in (exact, steps))
    assert np.abs(p - q).max() < 0.02


def test_the_noise_matrix_is_used_where_a_method_needs_it():
    snapshot, _ = make_snapshot()
    data = data_of(snapshot)
    assert (PlainCorrected().targets(data).likelihood == 0.25).any()
    assert not (Plain().targets(data).likelihood == 0.25).any()


def test_a_reference_batch_holds_reference_gold_alone():
    seen = []

    class Looks(Plain):
        def step(self, state, networks, batch, rng):
            reference = batch.reference_batch()
            seen.append((reference.rows, reference.is_gold))
            return super().step(state, networks, batch, rng)

    snapshot, _ = make_snapshot()  # gold of items 0 to 79, the first 60 of the reference sample
    Looks(epochs=1, batch_size=50).fit(data_of(snapshot), generator(0))
    assert all(rows.max() < 60 and len(rows) == 50 and is_gold.all() for rows, is_gold in seen)
    assert len({tuple(rows.tolist()) for rows, _ in seen}) > 1


def test_without_a_reference_sample_there_is_no_reference_batch():
    seen = []

    class Looks(Plain):
        def step(self, state, networks, batch, rng):
            seen.append(batch.reference_batch())
            return super().step(state, networks, batch, rng)

    Looks(epochs=1).fit(data_of(make_snapshot(n_reference=0)[0]), generator(0))
    assert seen and all(batch is None for batch in seen)


def test_an_epoch_sees_each_item_that_trains_once():
    seen = []

    class Looks(Plain):
        def step(self, state, networks, batch, rng):
            seen.extend(batch.rows.tolist())
            return super().step(state, networks, batch, rng)

    snapshot, _ = make_snapshot()
    Looks(epochs=1).fit(data_of(snapshot), generator(0))
    assert sorted(seen) == np.flatnonzero((snapshot.gold >= 0) | (snapshot.silver < 3)).tolist()


def test_the_search_varies_what_the_grid_names_and_the_version_remembers_it():
    snapshot, _ = make_snapshot(n=200)
    config = TrainingConfig.of("two-networks", {"gold_weight": 5.0, "l2": 1.0, "epochs": 2, "batch_size": 100})
    calls = []
    version = train(snapshot, config, progress=lambda done, total: calls.append((done, total)))
    assert [row["kept"] for row in version.metrics["grid"]] == [0.8, 0.6, 0.9]
    best = min(version.metrics["grid"], key=lambda row: row["calibrated_log_loss"])
    assert version.method.kept == best["kept"]
    arrays, stored = version.to_arrays()
    assert stored["chosen"] == {"kept": best["kept"]}
    assert TrainedVersion.from_arrays(arrays, stored).method == version.method
    assert all(done <= total for done, total in calls) and calls[-1][0] == calls[-1][1]


def test_a_parameter_that_is_given_is_stored_and_not_varied():
    config = TrainingConfig.of("two-networks", {"kept": 0.5})
    assert config.parameters["kept"] == 0.5 and not config.grid
    assert TrainingConfig.from_dict(config.to_dict()) == config
    assert config.build().kept == 0.5


@pytest.mark.parametrize("value", [2.5, "12", True, None, 0, float("nan")])
def test_a_whole_number_is_asked_for_where_steps_are_counted(value):
    with pytest.raises(ValueError, match="epochs must be"):
        methods.build("plain", {"epochs": value})


def test_a_whole_number_may_come_as_json_writes_it():
    assert methods.build("plain", {"epochs": 12.0}).epochs == 12
