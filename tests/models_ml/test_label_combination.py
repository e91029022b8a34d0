import json
from dataclasses import replace

import numpy as np
import pytest

from models_ml.calibration import uniform_noise
from models_ml.label_combination import (
    RULES,
    LabelCombination,
    _choose,
    _cross_validate,
    _fit,
    _predict,
    fit_label_combination,
)
from models_ml.metrics import item_log_loss

N, K = 600, 3


def noisy(truth, right, rng, k=K):
    """Labels that are right with this probability."""
    return np.where(rng.random(len(truth)) < right, truth, rng.integers(0, k, len(truth)))


def make_pool(llm=0.7, model=0.7, n_reference=120, seed=0, sharpness=0.8):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, K, N)
    guess = noisy(truth, model, rng)
    p_oof = np.full((N, K), (1 - sharpness) / (K - 1))
    p_oof[np.arange(N), guess] = sharpness
    silver = noisy(truth, llm, rng)
    silver[::20] = K
    reference = np.arange(N) < n_reference
    data = {
        "silver": silver,
        "silver_probability": None,
        "p_oof": p_oof,
        "gold": np.where(reference, truth, -1),
        "reference": reference,
        "fold": rng.integers(0, 5, N),
        "n_classes": K,
    }
    return data, truth


def posterior(combination, data):
    return combination.posterior(data["silver"], data["silver_probability"], data["p_oof"])


class TestChoice:
    def test_the_combiner_is_the_default(self):
        data, _ = make_pool()
        combination = fit_label_combination(**data)
        assert combination.rule == "combiner"
        assert [row["name"] for row in combination.table] == list(RULES[1:])

    def test_it_knows_more_than_either_of_its_sources(self):
        data, truth = make_pool(n_reference=300)
        table = {row["name"]: row["log_loss"] for row in fit_label_combination(**data).table}
        assert table["combiner"] < min(table["llm"], table["model"])

    def test_a_clearly_better_candidate_replaces_it(self):
        # A machine with a fixed habit (it always says the next class) is what a transition matrix is for.
        data, truth = make_pool(model=0.4, n_reference=300, sharpness=0.4)
        data["silver"] = (truth + 1) % K
        combination = fit_label_combination(**data)
        assert combination.rule == "posterior"
        row = next(r for r in combination.table if r["name"] == "posterior")
        assert row["better_by"] > row["standard_error"]
        assert (posterior(combination, data).argmax(axis=1) == truth).all()

    def test_a_handful_of_items_never_replaces_it(self):
        data, truth = make_pool(model=0.4, n_reference=15, sharpness=0.4)
        data["silver"] = (truth + 1) % K
        assert fit_label_combination(**data).rule == "combiner"

    @pytest.mark.parametrize("names", [RULES, RULES[1:]])
    @pytest.mark.parametrize(("gain", "wins"), [(0.05, False), (0.2, True), (-0.2, False)])
    def test_better_means_by_more_than_one_standard_error(self, names, gain, wins):
        spread = np.tile([1.0, -1.0], 50)  # standard error of the mean: .1
        losses = {name: np.full(100, 2.0) for name in names}
        losses["model"] = losses["model"] - gain - spread
        assert _choose(losses)[0] == ("model" if wins else names[0])

    def test_each_fold_is_compared_without_its_own_gold(self):
        data, _ = make_pool()
        silver, p_oof, gold = data["silver"], data["p_oof"], data["gold"]
        both = (gold >= 0) & (silver < K)
        found = _cross_validate((silver, None, p_oof), gold, both, data["fold"], K)
        parts = _fit(silver, None, p_oof, np.where(data["fold"] == 1, -1, gold), K)
        held = both & (data["fold"] == 1)
        for name in RULES[1:]:
            p = _predict(parts, name, silver[held], None, p_oof[held])
            np.testing.assert_array_equal(found[name][data["fold"][both] == 1], item_log_loss(p, gold[held]))

    def test_gold_outside_the_reference_sample_changes_nothing(self):
        data, truth = make_pool()
        more = dict(data, gold=truth)
        assert fit_label_combination(**data).to_dict() == fit_label_combination(**more).to_dict()


def stack_of(data, truth, right=0.9):
    """Predictions that know more than either machine, as out of fold."""
    p = np.full((N, K), (1 - right) / (K - 1))
    p[np.arange(N), noisy(truth, right, np.random.default_rng(7))] = right
    return p


class TestBlend:
    def test_with_a_stack_it_is_the_default(self):
        data, truth = make_pool()
        combination = fit_label_combination(**data, stack=stack_of(data, truth))
        assert combination.rule == "blend"
        assert [row["name"] for row in combination.table] == list(RULES)

    def test_a_clearly_better_candidate_replaces_it(self):
        data, truth = make_pool(n_reference=300)
        useless = np.full((N, K), 0.02)
        useless[np.arange(N), (truth + 1) % K] = 0.96
        assert fit_label_combination(**data, stack=useless).rule != "blend"

    def test_it_is_the_geometric_mean_of_the_combiners_posterior_and_the_stack(self):
        data, truth = make_pool()
        stack = stack_of(data, truth)
        plain, blend = fit_label_combination(**data), fit_label_combination(**data, stack=stack)
        expected = np.sqrt(posterior(plain, data) * stack)
        expected /= expected.sum(axis=1, keepdims=True)
        found = blend.posterior(data["silver"], None, data["p_oof"], stack)
        np.testing.assert_allclose(found, expected, rtol=1e-4)

    def test_by_hand(self):
        """√(.8 · .5) : √(.2 · .5) is 2 : 1."""
        data, _ = make_pool(n_reference=0)
        model = replace(fit_label_combination(**data, stack=np.full((N, K), 1 / K)), n_classes=2)
        found = model.posterior(np.array([-1]), None, np.array([[0.8, 0.2]]), np.array([[0.5, 0.5]]))
        np.testing.assert_allclose(found, [[2 / 3, 1 / 3]], rtol=1e-5)

    def test_where_nothing_is_known_the_stack_says_nothing(self):
        data, truth = make_pool()
        data["silver"][:9], data["p_oof"][:9] = K, np.nan
        stack = stack_of(data, truth)
        found = fit_label_combination(**data, stack=stack).posterior(data["silver"], None, data["p_oof"], stack)
        np.testing.assert_allclose(found[:9], 1 / K)
        assert (found[9:].max(axis=1) > 1 / K).all()

    def test_without_silver_or_without_reference_gold_it_still_blends(self):
        data, truth = make_pool(n_reference=0)
        assert fit_label_combination(**data, stack=stack_of(data, truth)).rule == "blend"
        data["silver"] = np.full(N, -1)
        assert fit_label_combination(**data, stack=stack_of(data, truth)).rule == "blend"

    def test_its_loss_is_cross_validated_without_the_items_fold(self):
        data, truth = make_pool()
        stack, gold = stack_of(data, truth), data["gold"]
        both = (gold >= 0) & (data["silver"] < K)
        given = (data["silver"], None, data["p_oof"])
        before = _cross_validate(given, gold, both, data["fold"], K, stack)["blend"]
        changed = np.where((data["fold"] == 1) & (gold >= 0), (gold + 1) % K, gold)
        parts = [_fit(*given, np.where(data["fold"] == 1, -1, labels), K) for labels in (gold, changed)]
        held = both & (data["fold"] == 1)
        expected = np.sqrt(
            _predict(parts[1], "combiner", data["silver"][held], None, data["p_oof"][held]) * stack[held]
        )
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(before[data["fold"][both] == 1], item_log_loss(expected, gold[held]), rtol=1e-4)

    def test_a_frozen_blend_needs_its_stack_and_keeps_its_weight(self):
        data, truth = make_pool()
        stack = stack_of(data, truth)
        combination = fit_label_combination(**data, stack=stack)
        stored = json.loads(json.dumps(combination.to_dict(), allow_nan=False))
        assert stored["stack_weight"] == 0.5
        again = LabelCombination.from_dict({**stored, "stack_weight": 0.25})
        assert again.stack_weight == 0.25
        given = (data["silver"], None, data["p_oof"])
        whole = LabelCombination.from_dict(stored).posterior(*given, stack)
        assert whole.tobytes() == combination.posterior(*given, stack).tobytes()
        with pytest.raises(ValueError, match="needs the predictions of the stack"):
            combination.posterior(*given)
        stack[3] = np.nan
        with pytest.raises(ValueError, match="finite probability"):
            combination.posterior(*given, stack)
        with pytest.raises(ValueError, match="finite probability"):
            fit_label_combination(**data, stack=stack)


class TestPosterior:
    def test_rows_sum_to_one(self):
        data, _ = make_pool()
        np.testing.assert_allclose(posterior(fit_label_combination(**data), data).sum(axis=1), 1)

    def test_the_posterior_candidate_is_bayes_rule(self):
        data, _ = make_pool()
        d = fit_label_combination(**data)
        d = LabelCombination(d.n_classes, "posterior", d.parts, d.table, d.n)
        p, y = data["p_oof"][1] ** (1 / d.parts.model_temperature), data["silver"][1]
        expected = p / p.sum() * d.parts.transition[:, y]
        np.testing.assert_allclose(posterior(d, data)[1], expected / expected.sum(), rtol=1e-4)

    def test_an_item_never_sent_to_the_llm_is_the_models(self):
        data, _ = make_pool()
        data["silver"][-50:] = -1
        combination = fit_label_combination(**data)
        p = data["p_oof"][-50:] ** (1 / combination.parts.model_temperature)
        np.testing.assert_allclose(posterior(combination, data)[-50:], p / p.sum(axis=1, keepdims=True), rtol=1e-4)

    def test_a_failure_says_something_about_the_class(self):
        data, truth = make_pool(n_reference=300)
        data["silver"] = np.where(truth == 2, K, data["silver"])
        combination = fit_label_combination(**data)
        failed = data["silver"] == K
        p = data["p_oof"][failed] ** (1 / combination.parts.model_temperature)
        p = p / p.sum(axis=1, keepdims=True) * combination.parts.transition[:, K]
        found = posterior(combination, data)[failed]
        np.testing.assert_allclose(found, p / p.sum(axis=1, keepdims=True), rtol=1e-3)
        right = (found.argmax(axis=1) == truth[failed]).mean()
        assert right > (data["p_oof"][failed].argmax(axis=1) == truth[failed]).mean()

    def test_unknown_confidence_is_uniform_noise(self):
        data, _ = make_pool()
        data["p_oof"] = None
        combination = fit_label_combination(**data)
        assert combination.rule == "llm"
        valid = data["silver"] < K
        expected = uniform_noise(data["silver"][valid], combination.parts.error, combination.parts.marginal)
        np.testing.assert_allclose(posterior(combination, data)[valid], expected, rtol=1e-4)

    def test_a_null_row_is_unknown_and_the_others_are_used(self):
        data, _ = make_pool()
        p = np.full((N, K), 0.05)
        p[np.arange(N), np.minimum(data["silver"], K - 1)] = 0.9
        p[1] = np.nan
        data["silver_probability"], data["p_oof"] = p, None
        combination = fit_label_combination(**data)
        found = posterior(combination, data)
        expected = uniform_noise(data["silver"][1:2], combination.parts.error, combination.parts.marginal)
        np.testing.assert_allclose(found[1], expected[0], rtol=1e-4)
        q = p[2] ** (1 / combination.parts.llm_temperature)
        np.testing.assert_allclose(found[2], q / q.sum(), rtol=1e-4)

    def test_without_an_llm_the_model_speaks(self):
        data, _ = make_pool()
        data["silver"] = np.full(N, -1)
        combination = fit_label_combination(**data)
        assert combination.rule == "model"
        assert (posterior(combination, data).argmax(axis=1) == data["p_oof"].argmax(axis=1)).all()

    def test_without_anything_it_is_uniform(self):
        data, _ = make_pool()
        data["silver"], data["p_oof"] = np.full(N, -1), None
        np.testing.assert_allclose(posterior(fit_label_combination(**data), data), 1 / K)

    def test_no_reference_sample_is_the_shrunk_defaults(self):
        data, _ = make_pool(n_reference=0)
        combination = fit_label_combination(**data)
        assert combination.rule == "combiner"
        assert (combination.parts.combiner.a, combination.parts.error) == (0.5, pytest.approx(0.2))
        assert np.isfinite(posterior(combination, data)).all()

    def test_items_without_a_prediction_yet_are_the_llms(self):
        data, _ = make_pool()
        data["p_oof"][1:3] = np.nan
        found = posterior(fit_label_combination(**data), data)
        assert (found[1:3].argmax(axis=1) == data["silver"][1:3]).all()


def test_it_survives_json():
    data, _ = make_pool()
    combination = fit_label_combination(**data)
    again = LabelCombination.from_dict(json.loads(json.dumps(combination.to_dict(), allow_nan=False)))
    assert posterior(again, data).tobytes() == posterior(combination, data).tobytes()
    assert again.table == combination.table


# As a version of before there was a stack keeps it, and what it labeled six items with then.
FROZEN = {
    "n_classes": 3,
    "chooser": "combiner",
    "table": [{"name": "combiner", "log_loss": 0.621, "better_by": 0.0, "standard_error": 0.0}],
    "n": 34,
    "error": 0.20512820512820512,
    "marginal": [0.3459715639810427, 0.32701421800947866, 0.32701421800947866],
    "llm_temperature": 0.42821959520594455,
    "model_temperature": 0.5759328824763209,
    "combiner": {
        "a": 0.6610426382675361,
        "b": 0.7422918306631067,
        "c": [0.016697488809357532, -0.055211703843642455, 0.03851421503428517],
    },
    "transition": [
        [0.7117224880382775, 0.0847563246712317, 0.0847563246712317, 0.11876486261925909],
        [0.03503603284305039, 0.6957070707070707, 0.14422736133262448, 0.12502953511725443],
        [0.15474403477499454, 0.09388779435219063, 0.6778074866310161, 0.07356068424179879],
    ],
}
FROZEN_POSTERIOR = {
    "combiner": [0.8601769727550609, 0.06663764946248578, 0.07318537778245335],
    "llm": [0.7161665401819075, 0.14191672990904627, 0.14191672990904627],
    "model": [0.7710744505230922, 0.11446277473845393, 0.11446277473845393],
    "posterior": [0.9619242270573369, 0.007029315818500773, 0.03104645712416222],
}


@pytest.mark.parametrize(("rule", "expected"), FROZEN_POSTERIOR.items())
def test_a_rule_frozen_before_there_was_a_stack_says_what_it_said(rule, expected):
    stored = {**FROZEN, "chooser": rule}
    combination = LabelCombination.from_dict(stored)
    assert combination.to_dict() == stored
    silver, soft, p_oof = np.array([0, 3]), np.full((2, 3), np.nan), np.array([[0.6, 0.2, 0.2], [0.25, 0.5, 0.25]])
    soft[0] = [0.5, 0.25, 0.25]
    plain = combination.posterior(silver, soft, p_oof)
    failed = [0.19504748235216884, 0.684143837832636, 0.12080867981519519]
    np.testing.assert_allclose(plain, [expected, failed], rtol=1e-14)  # the last digit is the library's
    stack = np.full((2, 3), 1 / 3)
    assert combination.posterior(silver, soft, p_oof, stack).tobytes() == plain.tobytes()
