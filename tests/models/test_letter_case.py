"""Text without its letter case: alike in Python and in both databases."""

import unicodedata

import pytest
from django.db.models import F, TextField, Value
from django.db.models.functions import Cast
from hypothesis import given
from hypothesis import strategies as st

from annotate.models import User
from annotate.models.letter_case import Contains, WithoutCase, without_case
from tests.factories import make_user

# Of Unicode 14, which both Python 3.11 and the ICU of PostgreSQL 15 know.
LETTERS = "".join(chr(code) for code in range(1, 0x1FFFF) if unicodedata.category(chr(code)) in ("Lu", "Ll", "Lt"))


@given(st.text())
def test_a_text_equals_itself_in_the_other_case(text):
    assert without_case(text.lower()) == without_case(text)
    assert without_case(without_case(text)) == without_case(text)


@pytest.mark.parametrize(
    ("one", "other"), [("Straße", "STRASSE"), ("ὈΔΟΣ", "ὀδος"), ("ẞ", "ß"), ("ПОЧЕМУ", "почему"), ("ǅ", "ǆ")]
)
def test_words_that_differ_in_case_only(one, other):
    assert without_case(one) == without_case(other)


@pytest.mark.parametrize(("one", "other"), [("é", "e"), ("ö", "oe"), ("и", "й"), ("a ", "a")])
def test_words_that_differ_otherwise(one, other):
    assert without_case(one) != without_case(other)


@pytest.mark.django_db
class TestDatabase:
    def test_it_knows_the_case_of_every_letter(self):
        make_user()
        text = Cast(Value(LETTERS), TextField())
        found = User.objects.annotate(found=WithoutCase(text)).values_list("found", flat=True)[0]
        assert found == without_case(LETTERS)

    @pytest.mark.parametrize("sought", ["zoë", "ZOË", "Ë%", "", "x"])
    def test_it_finds_what_python_finds(self, sought):
        make_user(name="ZOË% Sand")
        found = User.objects.alias(held=Contains(F("name"), sought)).filter(held=True)
        assert found.exists() == (without_case(sought) in without_case("ZOË% Sand"))
