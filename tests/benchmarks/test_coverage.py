"""The intervals tell the truth, and the benchmark notices when they do not."""

import json
from functools import partial

import numpy as np
import pytest

from benchmarks.coverage import main, outcomes, summarize
from benchmarks.machines import load, recorded, synthetic
from benchmarks.replays import Setup


@pytest.fixture(scope="module")
def rows():
    """40 replays of five rounds of 60 on pools of 800: a bite large enough for the controls to show."""
    found = outcomes(partial(synthetic, items=800), Setup(batch=60), seed=3, replays=40)
    return {(row["estimand"], row.get("control")): row for row in summarize(found)}


@pytest.mark.parametrize("estimand", ["llm", "model", "delivered"])
def test_the_products_intervals_cover(rows, estimand):
    assert rows[estimand, None]["high"] >= 0.95
    assert rows[estimand, None]["coverage"] >= 0.85


@pytest.mark.parametrize("control", ["active", "leftover", "fit-on-audit"])
def test_each_control_fails(rows, control):
    assert rows["delivered", control]["high"] < 0.93


def test_the_delivered_estimate_is_unbiased(rows):
    assert abs(rows["delivered", None]["bias"]) < 0.01


def test_it_is_about_as_narrow_as_the_true_variance_allows(rows):
    assert rows["llm", None]["mean_width"] < 1.05 * rows["llm", None]["plain_width"]


def test_unanswerable_items_widen_and_stay_covered():
    source = partial(synthetic, items=400, unanswerable=0.1)
    found = summarize(outcomes(source, Setup(rounds=3, batch=60), seed=5, replays=15))
    product = {row["estimand"]: row for row in found if row["mode"] == "product"}
    assert product["delivered"]["coverage"] >= 0.93


def test_it_repeats_itself():
    once, twice = (
        summarize(outcomes(partial(synthetic, items=200), Setup(2, 30), seed=9, replays=2)) for _ in range(2)
    )
    assert once == twice


def test_it_prints_one_object_per_estimand_and_mode(capsys):
    main(["--replays", "2", "--items", "200", "--rounds", "2", "--batch", "30", "--workers", "1"])
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    keys = {"estimand", "mode", "n", "coverage", "low", "high", "mean_width", "oracle_width"}
    assert all(keys <= set(row) for row in printed)
    assert {row["control"] for row in printed if "control" in row} == {"active", "leftover", "fit-on-audit"}


def test_it_replays_recorded_arrays(tmp_path):
    machine = synthetic(np.random.default_rng(1), 300)
    np.savez(tmp_path / "m.npz", **vars(machine))
    again = recorded(np.random.default_rng(2), load(tmp_path / "m.npz"), items=200, unanswerable=0.0)
    assert len(again.truth) == 200 and again.answerable.all()
