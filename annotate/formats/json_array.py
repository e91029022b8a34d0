"""Decides where the elements of a JSON array begin and end; reads a file of any size in bounded memory.

An element is cut out by its brackets and quotes alone, and then read like a line of JSON Lines: by the same rules,
and one that breaks them spoils no other.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from annotate.formats import streams
from annotate.formats.jsonl import EXCERPT_BYTES, MAX_LINE_BYTES
from annotate.formats.streams import BOM

Element = tuple[bytes, bool]  # its bytes, and whether they are the whole element

_BEFORE = re.compile(rb"\[")
_BETWEEN = re.compile(rb'["\[\]{},]')  # what matters between elements and in a plain one
_INSIDE = re.compile(rb'["\[\]{}]')  # what matters inside an object or array
_IN_STRING = re.compile(rb'["\\]')


class Cutter:
    """Cuts an array, given block by block, into elements; of one longer than MAX_LINE_BYTES the beginning is kept."""

    def __init__(self) -> None:
        self._depth = -1  # open brackets inside the array; -1 before its own bracket, -2 after it
        self._is_in_string = self._skips_one = False
        self._kept = bytearray()
        self._is_whole = True
        self._n_elements = 0
        self.goes_on_after = False  # something follows the array

    @property
    def is_closed(self) -> bool:
        return self._depth == -2

    def cut(self, block: bytes) -> Iterator[Element]:
        """The elements that end in this block."""
        start = place = 0
        while place < len(block):
            if self.is_closed:
                self.goes_on_after = self.goes_on_after or bool(block[place:].strip())
                return
            if self._skips_one:  # the character after a backslash
                self._skips_one, place = False, place + 1
                continue
            found = self._pattern.search(block, place)
            if not found:
                break
            place, is_before = found.end(), self._depth == -1
            if self._is_end(found[0]):
                if not is_before:
                    self._keep(block[start : place - 1])
                start = place
                if (element := self._taken()) is not None:
                    yield element
        if self._depth >= 0:
            self._keep(block[start:])

    @property
    def _pattern(self) -> re.Pattern[bytes]:
        if self._depth == -1:
            return _BEFORE
        if self._is_in_string:
            return _IN_STRING
        return _INSIDE if self._depth > 0 else _BETWEEN

    def _is_end(self, sign: bytes) -> bool:
        """Whether this sign, which is counted, begins the array, or ends an element."""
        if self._is_in_string:
            self._skips_one = sign == b"\\"
            self._is_in_string = sign != b'"'
            return False
        if sign == b'"':
            self._is_in_string = True
        elif sign in (b"[", b"{"):
            self._depth += 1
            return self._depth == 0
        elif sign != b",":
            self._depth -= 1
            if self._depth == -1:
                self._depth = -2
                return True
        return sign == b"," and self._depth == 0

    def _keep(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._kept) if self._is_whole else 0
        self._kept += part[:room]
        if len(part) > room and part.strip():
            self._is_whole = False
            del self._kept[EXCERPT_BYTES:]

    def _taken(self) -> Element | None:
        """The element that has ended; None where there is none, as in an empty array or before its bracket."""
        raw, is_whole = bytes(self._kept).strip(), self._is_whole
        self._kept.clear()
        self._is_whole = True
        return (raw, is_whole) if raw else None


class Counter:
    """Counts the elements of an array that is given to it block by block."""

    def __init__(self) -> None:
        self.cutter = Cutter()
        self.n_lines, self.has_content = 0, False

    def add(self, block: bytes) -> None:
        self.n_lines += sum(1 for _ in self.cutter.cut(block))
        self.has_content = self.has_content or bool(block.removeprefix(BOM).strip())


def elements(file: BinaryIO, *, skip: int = 0) -> Iterator[tuple[int, bytes, bool]]:
    """(number from 1, bytes, whether they are the whole element) for each element after the first `skip`."""
    cutter, number = Cutter(), 0
    for block in streams.blocks(file):
        for raw, is_whole in cutter.cut(block):
            number += 1
            if number > skip:
                yield number, raw, is_whole
