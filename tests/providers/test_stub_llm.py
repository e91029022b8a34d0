"""The stub itself, since other tests believe its bill: what it charges, how it answers, that it runs by itself."""

import json
import subprocess
import sys
import urllib.request

import pytest

from annotate.providers.openai import Outcome
from models_ml.llm import chat
from models_ml.types import LabelSpec
from tests.providers.conftest import attempt
from tests.stub_llm import Model, Options, item_id, item_text, options_in, stub_llm

LABELS = [LabelSpec("late", "A late card.", ("Where?",)), LabelSpec("rate"), LabelSpec("rate_high", "A high rate.")]
OPTIONS = options_in(chat.opening(LABELS)[0]["content"])


class TestWhatItReads:
    def test_it_finds_the_options(self):
        assert OPTIONS == {"A": 'late: A late card. Examples: "Where?"', "B": "rate", "C": "rate_high: A high rate."}

    @pytest.mark.parametrize("parts", [("one < two",), ("first", "second"), ('"}\n{"text": "x"}',)])
    def test_it_finds_the_item(self, parts):
        assert item_text(chat.question(parts)["content"]) == "\n".join(parts)


class TestHowItAnswers:
    def test_it_is_right_as_often_as_asked(self):
        truth = {f"Item {n}": LABELS[n % 3].name for n in range(2000)}
        model = Model(Options(seed=3, accuracy=0.8, truth=truth))
        answers = [model.answer(text, OPTIONS) for text in truth]
        assert sum(is_right for _, is_right in answers) / 2000 == pytest.approx(0.8, abs=0.03)
        right = [OPTIONS[code].split(":")[0] == truth[text] for text, (code, _) in zip(truth, answers, strict=True)]
        assert right == [is_right for _, is_right in answers]

    def test_another_seed_errs_elsewhere(self):
        first, second = (Model(Options(seed=seed, accuracy=0.5)) for seed in (1, 2))
        texts = [f"Item {n}" for n in range(50)]
        assert [first.answer(t, OPTIONS) for t in texts] != [second.answer(t, OPTIONS) for t in texts]

    def test_its_probabilities_leave_some_mass_elsewhere(self):
        chances = Model(Options()).chances("x", "B", True, ["A", "B", "C"])
        assert sum(chances.values()) == pytest.approx(1)
        assert 0.8 < sum(p for token, p in chances.items() if token.strip() in OPTIONS) < 1
        assert max(chances, key=chances.get) == "B"

    def test_it_refuses_a_fault_it_does_not_know(self):
        with pytest.raises(ValueError, match="no such faults"):
            Options(faults={"earthquake": 0.1})


class TestTheBill:
    def test_work_that_nobody_read_is_on_it(self, stub, endpoint):
        stub.change(faults={"drop_after": 1.0})
        assert attempt(endpoint(), "x").outcome is Outcome.UNKNOWN
        assert (stub.bill().n_requests, stub.bill().n_charged) == (1, 1)
        assert stub.bill().micros > 0

    def test_what_was_turned_away_is_not(self, stub, endpoint):
        stub.change(faults={"429": 1.0})
        attempt(endpoint(), "x")
        assert (stub.bill().n_requests, stub.bill().n_charged, stub.bill().micros) == (1, 0, 0)

    def test_it_counts_each_item(self, stub, endpoint):
        for text in ("x", "y", "x"):
            attempt(endpoint(), text)
        assert stub.bill().items == {item_id("x"): 2, item_id("y"): 1}


def test_it_runs_as_a_program(endpoint, tmp_path):
    truth = tmp_path / "truth.jsonl"
    truth.write_text(json.dumps({"text": "x", "label": "other"}) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "tests.stub_llm", "--port", "0", "--accuracy", "1", "--truth", str(truth)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            base_url = program.stdout.readline().removeprefix("Ready: ").strip()
            assert attempt(endpoint(base_url=base_url), "x").answer.label == 2
            root = base_url.removesuffix("/v1")
            with urllib.request.urlopen(f"{root}/bill") as bill:
                assert json.load(bill)["items"] == {item_id("x"): 1}
            with urllib.request.urlopen(urllib.request.Request(f"{root}/reset", method="POST")):
                pass
            with urllib.request.urlopen(f"{root}/bill") as bill:
                assert json.load(bill)["n_requests"] == 0
        finally:
            program.terminate()


def test_a_fault_can_spare_an_item_after_some_attempts(endpoint):
    with stub_llm(faults={"503": 1.0}, fault_attempts=1) as stub:
        outcomes = [attempt(endpoint(base_url=stub.base_url)).outcome for _ in range(2)]
    assert outcomes == [Outcome.UNKNOWN, Outcome.ANSWERED]
