"""Texts that cannot be seen are empty, and names lose what cannot be seen at their ends."""

import pytest

from models_ml.texts import has_text, trimmed

ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"  # a flag ends in a format character


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n\t",
        "\u00a0\u2003",
        "\u200b\u200d\ufeff",
        "\u2060\u00ad",
        "\u3164",
        "\u2800\u2800",
        "\ufe0f",
        "\x1b\x00",
    ],
)
def test_a_text_of_invisible_characters_is_empty(text):
    assert not has_text(text)


@pytest.mark.parametrize("text", ["a", " .", "\u200b0", "👩‍👩‍👧‍👦", "مرحبا", "\u0301", "\U0001fae8", "\ue000"])
def test_all_else_is_text(text):
    assert has_text(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spam ", "spam"),
        ("\ufeff\u00a0spam\u200b", "spam"),
        ("\u200eعربي\u200f", "عربي"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # the joiner inside parts two halves of a word
        (ENGLAND, ENGLAND),
        ("\u200b \u200b", ""),
        ("a b", "a b"),
    ],
)  # fmt: skip
def test_only_the_ends_are_trimmed(name, expected):
    assert trimmed(name) == expected
