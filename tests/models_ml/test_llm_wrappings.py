"""Replies of models that name exactly one option in some wrapping, and those that do not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.llm import reading
from models_ml.llm.chat import codes
from models_ml.llm.reading import Options
from models_ml.types import FailureKind
from tests.stub_llm import WRAPPINGS, in_tokens, wrapped

OPTIONS = Options.of(["spam", "ham"])
RIGHT = [
    "A", "A.", "A)", "(A)", "**A**", '"A"', "a", " A", "spam", "Spam", "A. spam", "A: spam", "Answer: A",
    "<think>Is it ham (B)?\nNo: A or B.</think>A", '{"label": "A"}', [{"type": "text", "text": "A"}],
]  # fmt: skip
NO_ANSWER = [
    "A or B", "C", "neither", "The message is about spam and ham", "A. ham", "B: spam", "The answer is A", "A spam",
    "Label: spam", "C. spam", "A\nB", "A.B", "A,", "-A", "spam, ham", "spam ham", "spamham", '{"label": "C"}',
    '{"label": ["A", "B"]}', '{"label": "B", "label": "A"}',
    '{"label": "A", "why": "spam"}', '{"class": "A"}', '[{"label": "A"}]', "<think>A",
    "<think>A</think>", "A</think>", "A<think>B</think>", '{"label": "A"', "{" * 100_000, "A" * 100_000,
]  # fmt: skip


def response(content, tokens=(), reason="stop"):
    message = {"role": "assistant", "content": content}
    return {"choices": [{"message": message, "finish_reason": reason, "logprobs": {"content": list(tokens)}}]}


def tokens(*texts, own=None, **chances):
    """The entries of a reply's tokens; that at the place `own` (else each) carries the chances of the options."""
    said = {"A": texts[own]} if own is not None else {}
    top = [{"token": said.get(token, token), "logprob": math.log(p)} for token, p in chances.items()]
    return [
        {"token": text, "logprob": -0.1, "top_logprobs": top if own in (None, place) else []}
        for place, text in enumerate(texts)
    ]


class TestRead:
    @pytest.mark.parametrize("content", RIGHT, ids=str)
    def test_a_reply_that_names_one_option(self, content):
        assert reading.read(response(content), OPTIONS).label == 0

    @pytest.mark.parametrize("content", NO_ANSWER, ids=lambda text: text[:30])
    def test_a_reply_that_names_none_or_two(self, content):
        answer = reading.read(response(content), OPTIONS)
        assert answer.kind is FailureKind.OUT_OF_SET
        assert answer.reply and content.startswith(answer.reply[:200]) and len(answer.reply) <= 500

    def test_an_empty_reply(self):
        for content in ("", " \u200b", None, []):
            answer = reading.read(response(content), OPTIONS)
            assert (answer.kind, answer.reply) == (FailureKind.EMPTY, None)

    @pytest.mark.parametrize("content", [["A"], [{"type": "text"}], [{"type": "image", "text": "A"}], {"text": "A"}])
    def test_parts_that_are_no_text(self, content):
        answer = reading.read(response(content), OPTIONS)
        assert (answer.kind, answer.reply) == (FailureKind.MALFORMED, repr(content))

    @pytest.mark.parametrize("content", ["a", "A.", "(A)", "spam", "A. spam", "**A**", "Answer: A"])
    def test_of_a_reply_that_was_cut_off_only_the_bare_code_counts(self, content):
        assert reading.read(response(content, reason="length"), OPTIONS).kind is FailureKind.TRUNCATED
        assert reading.read(response(" A", reason="length"), OPTIONS).label == 0

    def test_a_code_that_is_another_options_name_names_none(self):
        swapped = Options.of(["B", "A"])
        assert reading.read(response("A"), swapped).kind is FailureKind.OUT_OF_SET
        same = Options.of(["a", "b"])
        assert reading.read(response("A"), same).label == 0

    def test_labels_that_differ_in_form_only_are_named_exactly(self):
        options = Options.of(["IT", "it"])
        assert [reading.read(response(text), options).label for text in ("IT", '"it"')] == [0, 1]
        assert reading.read(response("It"), options).kind is FailureKind.OUT_OF_SET

    @given(st.sampled_from(sorted(WRAPPINGS)), st.integers(0, 3))
    def test_the_stub_wraps_as_models_do(self, wrapping, label):
        names = ["spam", "ham", "not sure", "straße"]
        said = wrapped(wrapping, codes(4)[label], names[label])
        assert reading.read(response(said), Options.of(names)).label == label


class TestDistribution:
    @pytest.mark.parametrize(
        ("own", "texts"),
        [(0, ("A",)), (0, (" A", "<|im_end|>")), (1, ("\n", "A")), (0, ("A", ".")), (1, ("(", "A", ")")),
         (1, ("**", "A", "**")), (0, ("A", ".", " spam")), (2, ("Answer", ":", " A")), (2, ("Answer", ":", "ĠA")),
         (5, ("<think>", "B", " or", " A", "</think>", "A")), (4, ('{"', "label", '":', ' "', "A", '"}')),
         (0, ("\u2581A",))],
        ids=str,
    )  # fmt: skip
    def test_it_is_the_one_at_the_codes_own_token(self, own, texts):
        said = "".join(texts).replace("Ġ", " ").replace("\u2581", " ").removesuffix("<|im_end|>")
        answer = reading.read(response(said, tokens(*texts, own=own, A=0.7, B=0.2)), OPTIONS)
        assert answer.label == 0
        assert answer.probabilities == pytest.approx([0.7 / 0.9, 0.2 / 0.9], abs=1e-6)
        assert answer.label_mass == pytest.approx(0.9)

    def test_a_small_letter_that_is_the_code_counts_with_the_large_one(self):
        answer = reading.read(response("a", tokens("a", a=0.5, A=0.2, b=0.1, B=0.1)), OPTIONS)
        assert answer.probabilities == pytest.approx([0.7 / 0.9, 0.2 / 0.9], abs=1e-6)

    @pytest.mark.parametrize(
        ("said", "texts"),
        [
            ("(A)", ("(A", ")")),  # no token of its own
            ("A.", ("A.",)),
            ("spam", ("spam",)),  # no code at all
            ("A", ("B",)),  # other tokens than the reply's
            ("Answer: A", ("A",)),
            ("<think>B</think>A", ("A",)),
            ("A. spam", ("Sure", "A")),
        ],
    )
    def test_else_it_is_unknown(self, said, texts):
        answer = reading.read(response(said, tokens(*texts, A=0.7, B=0.2)), OPTIONS)
        assert (answer.label, answer.probabilities, answer.label_mass) == (0, None, None)

    @pytest.mark.parametrize("wrapping", sorted(WRAPPINGS))
    def test_the_stub_gives_tokens_as_servers_do(self, wrapping):
        said = wrapped(wrapping, "A", "spam")
        text = said if isinstance(said, str) else said[0]["text"]
        assert "".join(in_tokens(text, "A")) == text


class TestExcerpt:
    def test_a_long_reply_keeps_its_two_ends(self):
        found = reading.excerpt("beginning" + "x" * 5_000 + "the end")
        assert found.startswith("beginning") and found.endswith("the end") and len(found) <= 500 and "…" in found

    @given(st.integers(200, 300))
    def test_a_secret_leaves_no_part_of_itself_at_the_cut(self, n):
        answer = reading.read(response("." * n + "sk-0123456789" + "." * 5_000), OPTIONS, "sk-0123456789")
        assert set(answer.reply) == {".", "…"}

    @given(st.text())
    def test_every_database_stores_it(self, said):
        found = reading.excerpt(said)
        assert found is None or ("\x00" not in found and found.encode() and len(found) <= 500)
