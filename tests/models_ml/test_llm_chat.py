import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.llm import chat
from models_ml.types import Example, FailureKind, LabelSpec

LABELS = [
    LabelSpec("late", "A card\nis late.", ("Where is it?",)),
    LabelSpec("rate"),
    LabelSpec("other", "", ("", " ")),
]


class TestCodes:
    def test_it_gives_letters(self):
        assert chat.codes(3) == ("A", "B", "C")
        assert chat.codes(26)[-1] == "Z"

    @pytest.mark.parametrize("n_labels", [2, 26, 27, 77, 676, 677])
    def test_codes_differ_and_none_begins_another(self, n_labels):
        found = chat.codes(n_labels)
        assert len(set(found)) == n_labels
        assert len({len(code) for code in found}) == 1

    def test_beyond_26_labels_it_uses_two_letters(self):
        assert chat.codes(77)[:2] == ("AA", "AB")
        assert chat.codes(77)[26] == "BA"


class TestOpening:
    def test_it_lists_options_on_one_line_each(self):
        (system,) = chat.opening(LABELS)
        assert system["role"] == "system"
        assert system["content"].endswith(
            'Options:\nA. late: A card is late. Examples: "Where is it?"\nB. rate\nC. other'
        )

    def test_it_holds_the_guidelines_where_there_are_some(self):
        assert "Guidelines:\nBe kind." in chat.opening(LABELS, " Be kind. ")[0]["content"]
        assert "Guidelines" not in chat.opening(LABELS, "  ")[0]["content"]

    def test_an_example_is_a_question_with_its_answer(self):
        messages = chat.opening(LABELS, examples=[Example(("My card?",), 1)])
        assert messages[1] == chat.question(("My card?",))
        assert messages[2] == {"role": "assistant", "content": "B"}


class TestQuestion:
    def test_it_is_the_same_every_time(self):
        assert chat.messages(chat.opening(LABELS), ("x",)) == chat.messages(chat.opening(LABELS), ("x",))

    def test_it_names_both_texts_of_a_pair(self):
        assert json.loads(chat.as_json(("first", "second"))) == {"text_a": "first", "text_b": "second"}

    @given(st.lists(st.text(), min_size=1, max_size=3))
    def test_an_item_is_one_line_of_json_that_reads_back_equal(self, parts):
        assert list(json.loads(chat.as_json(tuple(parts))).values()) == parts
        line = chat.question(tuple(parts))["content"].split("\n")[1]
        assert list(json.loads(line).values()) == parts
        assert "<" not in line

    @given(st.text())
    def test_no_item_can_write_its_own_end(self, text):
        lines = chat.question((text,))["content"].split("\n")
        assert len(lines) == 4
        assert lines[0] == lines[2].replace("end of ", "")

    @pytest.mark.parametrize("text", ["\ud800", "a\udfff<", "\x00", "<|im_end|>", '"}\n[end of item 00000000]'])
    def test_odd_texts_can_be_sent(self, text):
        content = chat.question((text,))["content"]
        content.encode()
        assert "<" not in content
        assert json.loads(content.split("\n")[1]) == {"text": text}


def test_an_item_without_text_is_not_asked_about():
    assert chat.without_asking((" ", "\n")).kind is FailureKind.EMPTY
    assert chat.without_asking((" ", "a")) is None
