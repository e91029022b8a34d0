"""Reading JSON Lines without trusting any of it."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from annotate.errors import InvalidInput
from annotate.formats import jsonl


def read_all(path: Path, **options):
    with jsonl.opened(path) as file:
        return list(jsonl.lines(file, **options))


def inspect(path: Path) -> jsonl.Facts:
    with jsonl.opened(path) as file:
        return jsonl.inspect(file, path)


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class TestLines:
    def test_it_numbers_lines_from_one_and_strips_their_ends(self, tmp_path):
        path = put(tmp_path / "x.jsonl", b'{"a":1}\r\n\n{"b":2}')
        assert read_all(path) == [(1, b'{"a":1}', True), (2, b"", True), (3, b'{"b":2}', True)]

    def test_it_skips_lines_that_are_done(self, tmp_path):
        path = put(tmp_path / "x.jsonl", b"a\nb\nc\n")
        assert [number for number, _, _ in read_all(path, skip=2)] == [3]

    def test_it_ignores_a_byte_order_mark_at_the_start(self, tmp_path):
        path = put(tmp_path / "x.jsonl", b'\xef\xbb\xbf{"a":1}\n')
        assert read_all(path) == [(1, b'{"a":1}', True)]

    def test_it_knows_gzip_by_its_first_bytes_not_its_name(self, tmp_path):
        path = put(tmp_path / "x.jsonl", gzip.compress(b"a\nb\n", mtime=0))
        assert [raw for _, raw, _ in read_all(path)] == [b"a", b"b"]

    def test_it_reads_plain_lines_in_a_file_called_gz(self, tmp_path):
        path = put(tmp_path / "x.jsonl.gz", b"a\n")
        assert [raw for _, raw, _ in read_all(path)] == [b"a"]

    @pytest.mark.parametrize("extra", [0, 1, 2, 3, 5_000_000])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
    def test_it_keeps_only_the_beginning_of_a_line_that_is_too_long(self, tmp_path, extra, end):
        path = put(tmp_path / "x.jsonl", b"first\n" + b"x" * (jsonl.MAX_LINE_BYTES + extra) + end)
        (_, long, is_whole) = read_all(path)[1]
        assert is_whole == (extra == 0)
        assert len(long) == jsonl.MAX_LINE_BYTES if is_whole else len(long) < 1_000

    def test_it_finds_the_line_after_a_long_one(self, tmp_path):
        path = put(tmp_path / "x.jsonl", b"x" * 3_000_000 + b"\nlast\n")
        assert read_all(path)[1] == (2, b"last", True)

    def test_it_does_not_hold_a_long_line_in_memory(self, tmp_path):
        path = put(tmp_path / "x.jsonl.gz", gzip.compress(b"x" * 100_000_000 + b"\nlast\n", 1, mtime=0))
        tracemalloc.start()
        try:
            inspect(path)
            read_all(path)
            assert tracemalloc.get_traced_memory()[1] < 12_000_000
        finally:
            tracemalloc.stop()


class TestInspect:
    @pytest.mark.parametrize(("content", "n_lines"), [(b"a\nb\n", 2), (b"a\nb", 2), (b"\n\na", 3)])
    def test_it_counts_lines(self, tmp_path, content, n_lines):
        assert inspect(put(tmp_path / "x", content)).n_lines == n_lines

    def test_it_takes_the_checksum_of_the_file_as_stored(self, tmp_path):
        plain, packed = put(tmp_path / "a", b"a\n"), put(tmp_path / "b", gzip.compress(b"a\n", mtime=0))
        assert inspect(plain).sha256 != inspect(packed).sha256

    @pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
    def test_it_refuses_an_empty_file(self, tmp_path, content):
        with pytest.raises(InvalidInput, match="is empty"):
            inspect(put(tmp_path / "x", content))

    def test_it_refuses_a_truncated_gzip_file(self, tmp_path):
        whole = gzip.compress(b"".join(b'{"n":%d}\n' % n for n in range(10_000)))
        with pytest.raises(InvalidInput, match="ends too early after"):
            inspect(put(tmp_path / "x.gz", whole[: len(whole) // 2]))

    def test_it_refuses_a_damaged_gzip_file(self, tmp_path):
        broken = bytearray(gzip.compress(bytes(range(256)) * 4_000))
        broken[len(broken) // 2] ^= 0xFF
        with pytest.raises(InvalidInput, match="is damaged"):
            inspect(put(tmp_path / "x.gz", bytes(broken)))

    def test_it_refuses_what_follows_a_gzip_file(self, tmp_path):
        with pytest.raises(InvalidInput, match="is damaged"):
            inspect(put(tmp_path / "x.gz", gzip.compress(b"a\n", mtime=0) + b"garbage"))

    def test_it_names_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(InvalidInput, match="There is no file .*missing"):
            inspect(tmp_path / "missing")

    def test_it_refuses_a_directory(self, tmp_path):
        with pytest.raises(InvalidInput, match="is a directory"):
            inspect(tmp_path)


class TestParse:
    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (b'{"text": "a', "is not JSON"),
            (b'{"text": "a"} {}', "is not JSON"),
            (b'[{"text": "a"}]', "is an array, not an object"),
            (b'"text"', "is a string, not an object"),
            (b"null", "is null, not an object"),
            (b'{"text": "\xff"}', r"is not UTF-8 \(byte 11\)"),
            (b'{"text": "a\x00b"}', "NUL"),
            (b'{"x": "a\\u0000b"}', "NUL"),
            (b'{"x\\u0000": 1}', "NUL"),
            (b'{"x": [{"y": "\\u0000"}]}', "NUL"),
            (b'{"x": NaN}', "NaN, which is not JSON"),
            (b'{"x": -Infinity}', "Infinity, which is not JSON"),
            (b'{"x": 1e400}', "too large"),
            (b'{"x": "\\ud800"}', "lone surrogate"),
            (b'{"x": "\xed\xa0\x80"}', "not UTF-8"),
            (b'{"x": 9223372036854775808}', "64 bits"),
            (b'{"x": [-9223372036854775809]}', "64 bits"),
            (b'{"x": 1' + b"0" * 4_999 + b"}", "too large|64 bits"),
            (b'{"x": 1' + b"0" * 200 + b"}", "64 bits"),
            (b'{"x": ' + b"[" * 1_100 + b"]" * 1_100 + b"}", "nested deeper"),
            (b'{"x": ' + b"[" * 250 + b"]" * 250 + b"}", "nested deeper than 250 levels"),
            (b'{"x": [' + b'{"y": ' * 248 + b"[[1]]" + b"}" * 248 + b"]}", "nested deeper than 250 levels"),
        ],
    )
    def test_it_says_why_a_line_cannot_be_used(self, raw, reason):
        with pytest.raises(InvalidInput, match=reason):
            jsonl.parse(raw)

    @pytest.mark.parametrize(
        "raw",
        [
            b'{"x": 9223372036854775807}',
            b'{"x": -9223372036854775808}',
            b'{"x": 0.12345678901234567890}',
            b'{"x": "12345678901234567890"}',
            b'{"x": "\\\\u0000"}',
            b'{"x": "\\ud83d\\ude00"}',
            b'{"x": ' + b"[" * 249 + b"]" * 249 + b"}",
            b'{"x": [' + b"[]," * 300 + b"[]]}",
        ],
    )
    def test_it_takes_what_only_looks_broken(self, raw):
        assert isinstance(jsonl.parse(raw), dict)

    def test_it_refuses_to_write_what_it_could_not_read_back(self):
        deep: list = []
        for _ in range(300):
            deep = [deep]
        with pytest.raises(InvalidInput, match="nested deeper"):
            jsonl.dumps({"x": deep})


def test_it_makes_any_excerpt_printable():
    assert jsonl.excerpt(b"a\x00b\xff\x1b[31m" + b"x" * 500).isprintable()
    assert len(jsonl.excerpt(b"x" * 500)) == 120
