"""What one line becomes, for any bytes at all."""

import json

import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from annotate.imports.rows import Fields, ParsedRow, Rules, read
from annotate.modalities import text
from annotate.models import Label, RejectedRow

# Building the table of characters takes seconds on a busy machine; that is no finding.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LABELS = {name: Label(index=index, name=name) for index, name in enumerate(("yes", "no"))}
RULES = Rules(text, Fields("gold", "silver", "p"), LABELS)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
columns = st.dictionaries(st.sampled_from(["id", "text", "gold", "silver", "p", "other"]), json_values)


def check(raw: bytes) -> None:
    found = read(1, raw, True, RULES)
    if isinstance(found, RejectedRow):
        assert 0 < len(found.reason) <= 300 and found.reason.isprintable()
        assert len(found.excerpt) <= 300 and "\x00" not in found.excerpt
        assert found.external_id is None or len(found.external_id) <= 200
        return
    assert isinstance(found, ParsedRow)
    payload = orjson.loads(found.payload)
    assert payload == {"text": orjson.loads(raw)["text"]}
    assert found.content_hash == text.content_hash(payload)
    assert isinstance(orjson.loads(found.metadata), dict)
    assert found.silver is not None
    assert (found.silver.status == "ok") == (found.silver.index is not None)


@steady
@given(st.binary(max_size=200))
@example(b'{"text": "\xed\xa0\x80"}')
def test_it_survives_any_bytes(raw):
    check(raw)


@steady
@given(columns)
def test_it_survives_any_columns(row):
    check(json.dumps(row).encode())


@steady
@given(columns.map(lambda row: {**row, "text": "a text", "id": "x"}))
def test_it_survives_any_labels_beside_a_good_text(row):
    check(json.dumps(row).encode())
