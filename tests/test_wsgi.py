"""What a web server hands to the site: bodies that ended early are errors, whole ones are as they came."""

import io

import pytest

from labelapp.wsgi import WholeBody, refusing_half


class TestWholeBody:
    def test_all_that_came_is_read_at_once_in_pieces_or_by_line(self):
        assert WholeBody(io.BytesIO(b"ab\ncd"), 5).read() == b"ab\ncd"
        in_pieces = WholeBody(io.BytesIO(b"ab\ncd"), 5)
        assert [in_pieces.read(2), in_pieces.read(9), in_pieces.read(9)] == [b"ab", b"\ncd", b""]
        by_line = WholeBody(io.BytesIO(b"ab\ncd"), 5)
        assert [by_line.readline(), by_line.readline(), by_line.readline()] == [b"ab\n", b"cd", b""]

    def test_it_ends_where_the_next_request_begins(self):
        assert WholeBody(io.BytesIO(b"abGET /"), 2).read() == b"ab"
        assert WholeBody(io.BytesIO(b"abGET /\n"), 2).readline() == b"ab"

    def test_one_that_ended_early_is_an_error(self):
        for read in (WholeBody.read, WholeBody.readline):
            with pytest.raises(ConnectionResetError):
                read(WholeBody(io.BytesIO(b"a=1"), 9))

    def test_so_is_the_rest_of_one_whose_beginning_came(self):
        body = WholeBody(io.BytesIO(b"a=1"), 9)
        assert body.read(3) == b"a=1"
        with pytest.raises(ConnectionResetError):
            body.read(3)


@pytest.mark.parametrize("length", [{}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "many"}])
def test_a_request_without_a_length_reaches_the_site(length):
    seen = []
    refusing_half(lambda environ, _: seen.append(environ) or [])({"wsgi.input": io.BytesIO(), **length}, None)
    assert len(seen) == 1
