"""Which label a value means: exactly, else in the one form it shares with no other label, else none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_ml.label_matching import Matcher, form, is_empty


def find(value, *names):
    return Matcher({name: name for name in names}).find(value)


class TestFind:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("spam", "spam"),
            ("Spam", "spam"),
            (" SPAM\u00a0", "spam"),
            ("\ufeffspam", "spam"),
            ("straße", "STRASSE"),
            ("cafe\u0301", "Café"),
            ("not\u00a0sure", "not sure"),
            (["spam"], "spam"),
            (["Spam "], "spam"),
            ("spa", None),
            ("spam.", None),
            ("not  sure", None),
            (["spam", "ham"], None),
            ([["spam"]], None),
            ([], None),
            ({"label": "spam"}, None),
            (None, None),
            ("", None),
            (1, None),
        ],
    )
    def test_a_text(self, value, expected):
        assert find(value, "spam", "ham", "STRASSE", "Café", "not sure") == expected

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(1, "1"), ("1", "1"), (" 1", "1"), (1.0, "1"), ("1.0", "1"), ("1.00", "1"), (-1, "-1"), ("-1.0", "-1"),
         (0.0, "0"), (-0.0, "0"), ([1], "1"), (1.5, None), ("1,0", None), (True, None), (float("nan"), None),
         (float("inf"), None),
         (10**120, None), (2, None)],
    )  # fmt: skip
    def test_a_number_is_usually_written_as_an_integer(self, value, expected):
        assert find(value, "-1", "0", "1") == expected

    def test_a_label_may_be_written_with_decimals(self):
        assert [find(value, "0.0", "1.0", "2.5") for value in (1, "1", 1.0, 2.5, "2.5")] == ["1.0"] * 3 + ["2.5"] * 2

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(True, "true"), (False, "False"), ("TRUE", "true"), (1, None), ("yes", None), ("on", None), ([True], "true")],
    )
    def test_a_boolean_is_true_or_false_and_nothing_else(self, value, expected):
        assert find(value, "true", "False") == expected

    def test_labels_that_differ_in_form_only_are_meant_by_their_exact_names(self):
        assert [find(name, "IT", "it", "other") for name in ("IT", "it", "It", " IT", "Other")] == [
            "IT", "it", None, None, "other",
        ]  # fmt: skip
        assert [find(value, "1", "1.0") for value in (1, 1.0, "1", "1.0", " 1")] == ["1", "1.0", "1", "1.0", None]

    @given(st.lists(st.text(), unique=True), st.data())
    def test_an_exact_name_always_means_its_label(self, names, data):
        matcher = Matcher({name: name for name in names})
        for name in names:
            assert matcher.find(name) == name

    @given(st.lists(st.text(), unique=True), st.text())
    def test_whatever_is_found_has_the_values_form_and_is_the_only_one(self, names, value):
        found = find(value, *names)
        if found is not None and value not in names:
            assert [name for name in names if form(name) == form(value)] == [found]

    @given(st.text())
    def test_a_form_is_its_own_form(self, name):
        assert form(form(name)) == form(name)


@pytest.mark.parametrize("value", [None, "", " \u200b", [], [None], [""], [[]]])
def test_a_value_that_says_nothing(value):
    assert is_empty(value)


@pytest.mark.parametrize("value", [0, False, "0", ["a"], ["", "a"], {}])
def test_a_value_that_says_something(value):
    assert not is_empty(value)
