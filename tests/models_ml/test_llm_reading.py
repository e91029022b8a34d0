import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.llm import reading
from models_ml.llm.chat import codes
from models_ml.llm.reading import Options, Usage
from models_ml.types import Failure, FailureKind, Judgement

ABC = codes(3)
THREE = Options.of(["spam", "ham", "other"])
MANY = Options.of([f"label {place}" for place in range(77)])


def logprobs(said: str, **chances: float) -> dict:
    """What a server gives for one token; `_X` stands for " X"."""
    top = [{"token": token.replace("_", " "), "logprob": math.log(p)} for token, p in chances.items()]
    own = chances.get(said.replace(" ", "_"), 0.5)
    return {"content": [{"token": said, "logprob": math.log(own), "top_logprobs": top}]}


def response(content="A", *, reason="stop", probabilities=None, **message) -> dict:
    choice = {"message": {"role": "assistant", "content": content} | message, "finish_reason": reason}
    return {"choices": [choice | {"logprobs": probabilities}], "usage": {"prompt_tokens": 50, "completion_tokens": 1}}


class TestRead:
    @pytest.mark.parametrize("content", ["B", " B", "B\n"])
    def test_the_answer_is_the_code_alone(self, content):
        answer = reading.read(response(content), THREE)
        assert (answer.label, answer.probabilities, answer.label_mass) == (1, None, None)

    @pytest.mark.parametrize("content", ["D", "A B", "AA", "The answer is A.", "Ａ", "1", "late", "A, B", ".A"])
    def test_nothing_near_a_code_is_one(self, content):
        assert reading.read(response(content), THREE).kind is FailureKind.OUT_OF_SET

    @pytest.mark.parametrize(
        ("given", "kind"),
        [
            (response(None, refusal="No."), FailureKind.REFUSAL),
            (response("A", refusal="No."), FailureKind.REFUSAL),
            (response("A", reason="content_filter"), FailureKind.REFUSAL),
            (response("The", reason="length"), FailureKind.TRUNCATED),
            (response("", reason="length"), FailureKind.TRUNCATED),
            (response(None, reason="length"), FailureKind.TRUNCATED),
            (response(""), FailureKind.EMPTY),
            (response(" \n"), FailureKind.EMPTY),
            (response(None), FailureKind.EMPTY),
            ({"choices": []}, FailureKind.EMPTY),
            (response(["A"]), FailureKind.MALFORMED),
            (response(7), FailureKind.MALFORMED),
            ({"choices": [{"text": "A"}]}, FailureKind.MALFORMED),
            ({"choices": {"message": "A"}}, FailureKind.MALFORMED),
            ({"choices": [None]}, FailureKind.MALFORMED),
            ({"error": {"code": 502}}, FailureKind.MALFORMED),
            ({}, FailureKind.MALFORMED),
            ([], FailureKind.MALFORMED),
            ("A", FailureKind.MALFORMED),
            (None, FailureKind.MALFORMED),
        ],
    )
    def test_it_names_the_failure(self, given, kind):
        answer = reading.read(given, THREE)
        assert isinstance(answer, Failure)
        assert answer.kind is kind
        assert answer.message

    def test_a_code_at_the_token_limit_is_an_answer(self):
        assert reading.read(response("C", reason="length"), THREE).label == 2

    def test_half_of_a_long_code_is_cut_off(self):
        assert reading.read(response("B", reason="length"), MANY).kind is FailureKind.TRUNCATED
        assert reading.read(response("BA"), MANY).label == 26

    def test_it_keeps_the_label_that_was_said(self):
        answer = reading.read(response("B", probabilities=logprobs("B", A=0.5, B=0.4, C=0.1)), THREE)
        assert answer.label == 1
        assert answer.probabilities.argmax() == 0


class TestDistribution:
    def test_by_hand(self):
        p, mass = reading.distribution(logprobs("A", A=0.6, _A=0.1, B=0.15, C=0.05, The=0.05), "A", ABC)
        assert p == pytest.approx([0.7 / 0.9, 0.15 / 0.9, 0.05 / 0.9], abs=1e-6)
        assert mass == pytest.approx(0.9)
        assert p.dtype == np.float32

    def test_small_letters_are_words(self):
        _, mass = reading.distribution(logprobs("A", A=0.6, a=0.2, B=0.1, C=0.05), "A", ABC)
        assert mass == pytest.approx(0.75)

    def test_a_tokenizer_may_write_blanks_its_own_way(self):
        p, mass = reading.distribution(logprobs("A", A=0.5, **{"Ġ" + "A": 0.2, "▁B": 0.2, "C": 0.05}), "A", ABC)
        assert mass == pytest.approx(0.95)
        assert p[0] == pytest.approx(0.7 / 0.95)

    def test_a_missing_option_is_censored_at_the_least_probability_listed(self):
        p, mass = reading.distribution(logprobs("A", A=0.95, B=0.04, The=0.001), "A", ABC)
        assert mass == pytest.approx(0.99)
        assert p[2] == pytest.approx(0.001 / 0.991, rel=1e-4)

    def test_it_is_unknown_where_missing_options_could_matter(self):
        assert reading.distribution(logprobs("A", A=0.85, B=0.1, The=0.02), "A", ABC) is None

    def test_it_is_unknown_with_fewer_alternatives_than_options(self):
        assert reading.distribution(logprobs("A", A=0.999, B=1e-9), "A", ABC) is None

    def test_it_is_unknown_for_codes_of_two_tokens(self):
        many = dict.fromkeys(codes(77), 0.01)
        assert reading.distribution(logprobs("AB", **many), "AB", codes(77)) is None

    def test_the_first_token_that_is_not_blank_counts(self):
        given = logprobs("B", A=0.3, B=0.6, C=0.1)
        given["content"].insert(0, {"token": "\n", "logprob": -0.1, "top_logprobs": []})
        p, _ = reading.distribution(given, "B", ABC)
        assert p == pytest.approx([0.3, 0.6, 0.1], abs=1e-6)

    def test_what_was_said_counts_where_the_list_leaves_it_out(self):
        given = {"content": [{"token": "C", "logprob": math.log(0.01),
                              "top_logprobs": logprobs("A", A=0.6, B=0.3)["content"][0]["top_logprobs"]}]}  # fmt: skip
        p, mass = reading.distribution(given, "C", ABC)
        assert mass == pytest.approx(0.91)
        assert p[2] == pytest.approx(0.01 / 0.91)

    @pytest.mark.parametrize("value", [-9999, -math.inf, -(10**400)])
    def test_what_is_said_to_be_impossible_is_censored_too(self, value):
        given = logprobs("A", A=0.9, B=0.09, The=0.0001, C=0.5)
        given["content"][0]["top_logprobs"][3]["logprob"] = value
        p, _ = reading.distribution(given, "A", ABC)
        assert p[2] == pytest.approx(0.0001 / 0.9901, rel=1e-4)

    def test_sentinels_are_not_numbers(self):
        given = logprobs("A", A=0.9, B=0.1, C=0.5)
        given["content"][0]["top_logprobs"][2]["logprob"] = -9999.0
        assert reading.distribution(given, "A", ABC) is None  # C could be as likely as B

    @pytest.mark.parametrize("value", [math.nan, math.inf, 0.5, "x", None, True, [1], "-0.1"])
    def test_one_broken_number_spoils_the_list(self, value):
        given = logprobs("A", A=0.6, B=0.3, C=0.05)
        given["content"][0]["top_logprobs"][1]["logprob"] = value
        assert reading.distribution(given, "A", ABC) is None

    @pytest.mark.parametrize(
        "given",
        [
            None, {}, [], "x", {"content": None}, {"content": []}, {"content": ["A"]}, {"content": [{"token": 1}]},
            {"content": [{"token": "A"}]}, {"content": [{"token": "A", "top_logprobs": [None]}]},
            {"content": [{"token": " ", "top_logprobs": []}]}, {"content": [{"token": "A", "top_logprobs": []}]},
        ],
    )  # fmt: skip
    def test_it_is_unknown_in_any_other_shape(self, given):
        assert reading.distribution(given, "A", ABC) is None

    def test_it_is_unknown_where_another_token_was_said(self):
        assert reading.distribution(logprobs("B", A=0.6, B=0.3, C=0.05), "A", ABC) is None

    def test_it_is_unknown_where_the_sum_is_above_one(self):
        assert reading.distribution(logprobs("A", A=0.9, B=0.9, C=0.9), "A", ABC) is None

    @given(st.lists(st.floats(1e-30, 1), min_size=3, max_size=20), st.floats(0.01, 1))
    def test_a_full_list_gives_exactly_its_own_numbers(self, weights, mass):
        options = codes(len(weights))
        chances = np.array(weights) / sum(weights) * mass
        p, found = reading.distribution(logprobs("A", **dict(zip(options, chances, strict=True))), "A", options)
        assert p == pytest.approx(chances / chances.sum(), abs=1e-6)
        assert found == pytest.approx(mass, rel=1e-6)
        assert (p > 0).all()
        assert Judgement(0, p, found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["A", "length"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "logprobs", "token", "logprob", "top_logprobs", "usage",
                         "finish_reason", "refusal", "prompt_tokens", "completion_tokens"]), inner, max_size=4),
    max_leaves=25,
)  # fmt: skip


class TestAnyShape:
    @given(JSON)
    def test_it_answers_or_fails_and_never_breaks(self, anything):
        assert isinstance(reading.read(anything, THREE), Judgement | Failure)
        reading.usage(anything, most_input=100, most_output=4)
        reading.n_alternatives(anything)

    @given(JSON, st.data())
    def test_one_part_replaced_by_anything(self, anything, data):
        good = response("A", probabilities=logprobs("A", A=0.6, B=0.3, C=0.05))
        spoiled, node = copy.deepcopy(good), None
        node = spoiled
        while True:
            place = data.draw(st.sampled_from(list(node) if isinstance(node, dict) else list(range(len(node)))))
            if isinstance(node[place], dict | list) and node[place] and data.draw(st.booleans()):
                node = node[place]
            else:
                node[place] = anything
                break
        answer = reading.read(spoiled, THREE)
        if isinstance(answer, Judgement):
            content = spoiled["choices"][0]["message"]["content"]
            said = content if isinstance(content, str) else "".join(part["text"] for part in content)
            assert said.strip().upper() == ABC[answer.label]


class TestUsage:
    def test_it_is_what_the_server_counted(self):
        assert reading.usage(response(), most_input=100, most_output=4) == Usage(50, 1)

    @pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
    @pytest.mark.parametrize("value", [None, -1, 10**15, "50", 1.0, True, [], math.nan])
    def test_it_is_unknown_where_it_cannot_be_true(self, name, value):
        given = response()
        given["usage"][name] = value
        assert reading.usage(given, most_input=100, most_output=4) is None

    @pytest.mark.parametrize("value", [None, [], "x", {}, {"prompt_tokens": 0, "completion_tokens": 1}])
    def test_it_is_unknown_where_it_is_not_there(self, value):
        assert reading.usage(response() | {"usage": value}, most_input=100, most_output=4) is None
