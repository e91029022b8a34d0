"""What a file is, by its content."""

import gzip

import pytest

from annotate.errors import InvalidInput
from annotate.formats import columns, detection, streams
from annotate.formats.columns import propose


def detect(tmp_path, content: bytes, **options) -> detection.Detected:
    path = tmp_path / "x"
    path.write_bytes(content)
    with streams.opened(path) as file:
        return detection.detect(file, "x", **options)


class TestFormat:
    @pytest.mark.parametrize(
        ("content", "format"),
        [
            (b'{"text": "a"}\n', "jsonl"),
            (b'\xef\xbb\xbf\n {"text": "a"}\n', "jsonl"),
            (b'{"text": "a\n', "jsonl"),
            (b'["a"]\n["b"]\n', "jsonl"),
            (b"text\na\n", "csv"),
            (gzip.compress(b"text\na\n", mtime=0), "csv"),
        ],
    )
    def test_it_looks_at_the_content(self, tmp_path, content, format):
        assert detect(tmp_path, content).dialect.format == format

    @pytest.mark.parametrize("head", [b"PK\x03\x04", b"PAR1", b"%PDF-1.4", b"\x28\xb5\x2f\xfd", b"\x7fELF"])
    def test_it_names_other_things_packed_or_not(self, tmp_path, head):
        for content in (head + bytes(40), gzip.compress(head + bytes(40))):
            with pytest.raises(InvalidInput, match="not CSV or JSON Lines"):
                detect(tmp_path, content)

    def test_it_stops_at_the_limit(self, tmp_path):
        with pytest.raises(InvalidInput, match="more than 1,000 bytes when it is unpacked"):
            detect(tmp_path, gzip.compress(b"text\n" * 1_000), limit=1_000)
        assert detect(tmp_path, b"text\n" * 200, limit=1_000).facts.n_bytes == 1_000


class TestEncoding:
    def test_it_takes_utf_8_and_byte_order_marks_as_sure(self, tmp_path):
        for encoding, name in (("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16")):
            found = detect(tmp_path, "text\nGrüße\n".encode(encoding))
            assert (found.dialect.encoding, found.is_sure, found.notes) == (name, True, ())

    @pytest.mark.parametrize(("encoding", "text"), [("cp1252", "Grüße – “ja”"), ("latin-1", "Grüße \x81")])
    def test_it_says_that_it_guesses(self, tmp_path, encoding, text):
        found = detect(tmp_path, f"text\n{text}\n".encode(encoding))
        assert (found.dialect.encoding, found.is_sure) == (encoding, False)

    def test_it_looks_at_the_whole_file(self, tmp_path):
        content = b"text\n" + b"plain\n" * 500_000 + "Grüße\n".encode("cp1252")
        assert detect(tmp_path, content).dialect.encoding == "cp1252"

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_it_names_the_first_lines_of_each_encoding(self, tmp_path, end):
        plain = f"plain{end}" * 400_000  # more than a block
        content = (f"text{end}Ä{end}Ö{end}" + plain).encode() + f"Ü{end}".encode("cp1252")
        found = detect(tmp_path, content)
        assert found.dialect.encoding == "utf-8"
        assert "in UTF-8: 2 (line 2 the first); not in UTF-8: 1 (line 400,004 the first)" in found.notes[0]

    def test_it_does_not_take_a_cut_character_for_a_broken_one(self, tmp_path):
        content = b"text\n" + "ü".encode() * 3_000_000 + b"\n"
        assert detect(tmp_path, content).is_sure

    def test_it_says_which_lines_of_json_lines_will_be_lost(self, tmp_path):
        found = detect(tmp_path, b'{"text": "a"}\n{"text": "\xe4"}\n')
        assert found.dialect.encoding == "utf-8" and "is not UTF-8, which JSON always is: line 2" in found.notes[0]


class TestDelimiter:
    @pytest.mark.parametrize(
        ("content", "delimiter"),
        [
            (b"a,b\n1,2\n", ","),
            (b"a;b\n1,5;2,5\n", ";"),
            (b"a\tb\n1, 2; 3\tx\n", "\t"),
            (b"a|b\n1|2\n", "|"),
            (b'a;b\n"x,y,z";"1;2"\n"x,y,z";3\n', ";"),
            (b"text\nwell, yes\nno\nso, so\n", "\n"),
            (b"Comment (yes, no)\nfine\nbad\n", "\n"),
            (b"text\nwell; yes\nno\nso; so\n", "\n"),
            (b"Yes, it was.\nNo\nOh, well, no.\nAs, I, said\nNot, so\n", "\n"),
            (b"a,b,c\n1,2,3,4\n1,2,3,4\n", ","),
            (b'id,text,label\n1,"never closed\n2,a,b\n3,c,d\n', ","),
            (b"sep=|\na|b\n1|2\n", "|"),
        ],
    )
    def test_it_takes_the_one_that_fits(self, tmp_path, content, delimiter):
        assert detect(tmp_path, content).dialect.delimiter == delimiter


class TestHeader:
    @pytest.mark.parametrize(
        ("content", "header_line"),
        [
            (b"text\na\n", 1),
            (b"My card was declined\nI cannot log in\n", 0),
            (b"great food,pos\nbad food,neg\nfine,pos\n", 0),
            (b"what is it,question\nhow is it,question\nnow,other\n", 0),
            (b"Anfrage;Art\nwo ist es;a\n", 1),
            (b"17,a good line\n18,another\n", 0),
            (b"id,bemerkung\n1,gut\n", 1),
            (b"sep=;\nfoo;1\n", 2),
            (b"uid;Review\n1;a\nuid;Review\n2;b\n", 1),
        ],
    )
    def test_no_row_is_taken_for_names(self, tmp_path, content, header_line):
        assert detect(tmp_path, content).dialect.header_line == header_line

    def test_columns_that_somebody_chose_tell(self, tmp_path):
        content = b"foo,bar\nfoo,baz\n"
        assert detect(tmp_path, content, columns=["bar"]).dialect.header_line == 1
        assert detect(tmp_path, content, columns=["column 1"]).dialect.header_line == 0

    def test_a_person_knows_better(self, tmp_path):
        assert detect(tmp_path, b"text\na\n", choices={"header_line": 0}).dialect.header_line == 0
        assert detect(tmp_path, b"sep=;\na;b\n1;2\n", choices={"header_line": 1}).dialect.header_line == 2


class TestQuoting:
    @pytest.mark.parametrize(
        ("content", "quoting"),
        [
            (b'text\tlabel\n"a\tx\nb"\ty\n', False),
            (b'text\tlabel\n"a"" b"\ty\nc\tz\n', True),
            (b'"text"\t"label"\n"a\tx\nb"\t"y"\n', True),
            (b'text,label\n"a,x\nb",y\n', True),
            (b'Well, "no"\n"We waited\nOh\n', False),
            (b'text\n"a, b\nc"\nd\n', True),
        ],
    )
    def test_quotes_enclose_cells_where_no_row_is_lost(self, tmp_path, content, quoting):
        assert detect(tmp_path, content).dialect.quoting is quoting


class TestPropose:
    @pytest.mark.parametrize(
        ("names", "text", "id"),
        [
            (["id", "text", "label"], "text", "id"),
            (["ID", "Review Text"], "Review Text", "ID"),
            (["title", "content"], "content", None),
            (["whatever"], "whatever", None),
            (["id;text"], None, None),
            (["foo", "bar"], None, None),
        ],
    )
    def test_it_goes_by_names(self, names, text, id):
        found = propose(names, ("text",))
        assert (found["text"], found["id"]) == (text, id)

    def test_it_gives_no_column_two_roles(self):
        found = propose(["text", "label", "prediction", "score"], ("text",))
        assert found == {"text": "text", "id": None, "gold": "label", "silver": "prediction", "confidence": "score"}
        assert propose(["text", "score"], ("text",))["confidence"] is None

    def test_it_knows_pairs(self):
        found = propose(["pairID", "sentence1", "sentence2", "gold_label"], ("text_a", "text_b"))
        assert (found["text_a"], found["text_b"], found["id"]) == ("sentence1", "sentence2", "pairID")

    def test_what_it_proposes_can_be_chosen(self):
        found = propose(["id", "text", "label"], ("text",))
        columns.check(columns.chosen(found, ("text",)), ("text",), ["id", "text", "label"])
