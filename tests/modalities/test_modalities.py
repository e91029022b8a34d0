"""What each modality takes, what it says of what it refuses, and that content is kept as it came."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.errors import InvalidInput
from annotate.modalities import NAMES, modality, modality_of, pair, text
from annotate.modalities.strings import MAX_CHARACTERS, Part
from models_ml.texts import has_text

steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
written = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1).filter(has_text)
ARABIC, HEBREW = "ما عاصمة مصر؟ \u202bالقاهرة\u202c", "שלום עולם \u200f(1)"


class TestText:
    def test_its_hash_stays_what_it_was(self):
        """Stored items depend on it: u and fold follow from the hash."""
        assert (
            text.content_hash({"text": "Grüße"}) == "4a855dfb9894fc5fbd782eefd01a33b56b7411761a778c7c2d01fc92dbf84079"
        )

    @steady
    @given(written)
    def test_its_payload_is_what_came(self, content):
        payload = text.payload_of(json.loads(json.dumps({"id": 1, "text": content, "more": 2})))
        assert payload == {"text": content}
        assert text.contents(payload) == (content,)

    def test_a_pair_in_its_place_is_named(self):
        with pytest.raises(InvalidInput, match="single texts"):
            text.payload_of({"text_a": "a", "text_b": "b"})

    def test_a_person_sees_it_without_a_heading(self):
        assert text.screen_parts({"text": "a"}) == (Part("text", None, "a"),)


class TestPair:
    @steady
    @given(written, written)
    def test_its_payload_is_what_came(self, a, b):
        payload = pair.payload_of(json.loads(json.dumps({"id": 1, "text_b": b, "text": "other", "text_a": a})))
        assert payload == {"text_a": a, "text_b": b}
        assert pair.contents(payload) == (a, b)

    @steady
    @given(written, written, written, written)
    def test_its_hash_tells_pairs_apart(self, a, b, c, d):
        first, second = {"text_a": a, "text_b": b}, {"text_a": c, "text_b": d}
        assert (pair.content_hash(first) == pair.content_hash(second)) == ((a, b) == (c, d))

    def test_its_hash_knows_the_order_of_the_texts_and_not_of_the_keys(self):
        assert pair.content_hash({"text_a": "x", "text_b": "y"}) == pair.content_hash({"text_b": "y", "text_a": "x"})
        assert pair.content_hash({"text_a": "x", "text_b": "y"}) != pair.content_hash({"text_a": "y", "text_b": "x"})

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ({}, 'has no "text_a"'),
            ({"text_a": "a"}, 'has no "text_b"'),
            ({"text_b": "b"}, 'has no "text_a"'),
            ({"text_a": "a", "text_b": None}, 'has no "text_b"'),
            ({"text_a": "a", "text_b": 3}, '"text_b" is int, not a string'),
            ({"text_a": " \n", "text_b": "b"}, '"text_a" is empty'),
            ({"text_a": "a", "text_b": "b\x00"}, '"text_b" holds a NUL character'),
            ({"text_a": "a", "text_b": "b" * (MAX_CHARACTERS + 1)}, '"text_b" has 200,001 characters'),
            ({"text": "a"}, "the items of this project are pairs"),
            ({"text": "a", "text_a": "a"}, 'has no "text_b"'),
        ],
    )
    def test_it_names_the_field_that_cannot_be_used(self, row, reason):
        with pytest.raises(InvalidInput) as error:
            pair.payload_of(row)
        assert reason in str(error.value)

    @pytest.mark.parametrize(
        ("a", "b"), [(ARABIC, HEBREW), ("x " * 90_000, "e\u0301 ≠ \u00e9"), (" a\u2028b", "\ta\r\n")]
    )
    def test_a_person_sees_both_as_they_came(self, a, b):
        parts = pair.screen_parts(pair.payload_of({"text_a": a, "text_b": b, "label": "hidden"}))
        assert [(part.field, str(part.heading), part.text) for part in parts] == [
            ("text_a", "A", a),
            ("text_b", "B", b),
        ]


def test_an_unknown_name_is_a_sentence():
    with pytest.raises(InvalidInput, match="Unknown modality 'smell'; there are: pair, text"):
        modality("smell")


def test_every_modality_keeps_the_contract():
    for name in NAMES:
        found = modality(name)
        row = {field: f"{field}!" for field in found.FIELDS}
        payload = found.payload_of(row)
        assert (found.NAME, payload) == (name, row)
        assert found.contents(payload) == tuple(row.values())
        assert tuple(part.text for part in found.screen_parts(payload)) == tuple(row.values())


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"text": "a"}, "text"),
        ({"text_a": "a", "text_b": "b"}, "pair"),
        ({"text": "a", "text_a": "a", "text_b": "b"}, "text"),
        ({"text_a": "a"}, "text"),
        ({}, "text"),
    ],
)
def test_the_columns_of_a_file_tell_its_modality(row, name):
    assert name == modality_of(row).NAME
