"""Arrays cut into elements, wherever blocks end; nested fields by their paths."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.formats import json_array, nested, streams
from annotate.formats.jsonl import MAX_LINE_BYTES

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.sampled_from('ab"\\[]{},: \nü'), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def cut(blocks) -> tuple[list[bytes], json_array.Cutter]:
    cutter = json_array.Cutter()
    return [raw for block in blocks for raw, _ in cutter.cut(block)], cutter


@given(st.lists(values, max_size=6), st.integers(1, 40), st.sampled_from([None, 1]))
def test_it_finds_every_element(elements, size, indent):
    content = b"\xef\xbb\xbf \n" + json.dumps(elements, indent=indent, ensure_ascii=False).encode() + b"\n"
    found, cutter = cut(content[start : start + size] for start in range(0, len(content), size))
    assert [json.loads(raw) for raw in found] == elements
    assert cutter.is_closed and not cutter.goes_on_after


@pytest.mark.parametrize(
    ("content", "is_closed", "goes_on"),
    [(b"[1, 2]", True, False), (b"[1, 2", False, False), (b'["]', False, False), (b"[1] x", True, True)],
)
def test_it_knows_whether_the_array_ends(content, is_closed, goes_on):
    _, cutter = cut([content])
    assert (cutter.is_closed, cutter.goes_on_after) == (is_closed, goes_on)


def test_an_element_too_long_is_cut_and_not_held(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'[{"a": "' + b"x" * 50_000_000 + b'"}, {"b": 1}]')
    tracemalloc.start()
    try:
        with streams.opened(path) as file:
            found = list(json_array.elements(file))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert [(number, len(raw) <= MAX_LINE_BYTES, is_whole) for number, raw, is_whole in found] == [
        (1, True, False),
        (2, True, True),
    ]


def test_it_goes_on_after_the_elements_that_are_done(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"[1, 2, 3]")
    with streams.opened(path) as file:
        assert [raw for _, raw, _ in json_array.elements(file, skip=1)] == [b"2", b"3"]


class TestNested:
    ROW = {"id": 7, "data": {"text": "a", "more": {"n": 1}}, "a.b": 2, "meta": {}}

    def test_fields_are_named_by_their_paths(self):
        assert list(nested.paths(self.ROW)) == ["id", "data.text", "data.more.n", "a.b", "meta"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [("id", 7), ("data.text", "a"), ("data.more.n", 1), ("a.b", 2), ("data.none", None), ("id.x", None)],
    )
    def test_they_are_found_by_them(self, name, value):
        assert nested.value_at(self.ROW, name) == value

    def test_one_that_is_used_is_taken_out_of_its_object(self):
        row = nested.lifted({"data": {"text": "a"}, "meta": {"lang": "en", "x": 1}}, frozenset({"data.text", "meta.x"}))
        assert row == {"data.text": "a", "meta.x": 1, "meta": {"lang": "en"}}
