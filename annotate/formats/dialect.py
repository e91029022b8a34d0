"""Decides which formats, encodings and delimiters can be read. A file's dialect is stored with its import."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.translation import gettext as _

from annotate.errors import InvalidInput

FORMATS = {"jsonl": "JSON Lines", "csv": "CSV", "json": "a JSON array"}
NO_DELIMITER = "\n"  # nothing ends a cell but the end of its row: a line is one cell
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", NO_DELIMITER: "none"}
# Kinds of files that Goldloop itself exported, and how their cells were written.
EXPORTS = {
    "": "a file of others",
    "plain": "unaltered: JSON Lines, and CSV for programs",
    "spreadsheet": "CSV for spreadsheets",
    "escaped": "CSV of earlier versions (manifest format 1), with an apostrophe before what looks like a formula",
}
# Python's names of the codecs, and names for people. In all but the UTF-16 ones a line end is a single byte.
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16 (little endian)",
    "utf-16-be": "UTF-16 (big endian)",
    "cp1252": "Windows-1252 (Western European)",
    "latin-1": "ISO 8859-1 (Latin-1)",
    "iso8859-15": "ISO 8859-15 (Latin-9)",
    "cp1250": "Windows-1250 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "shift_jis": "Shift JIS (Japanese)",
    "gb18030": "GB 18030 (Chinese)",
    "big5": "Big5 (Chinese)",
    "euc_kr": "EUC-KR (Korean)",
    "koi8-r": "KOI8-R (Russian)",
    "koi8-u": "KOI8-U (Ukrainian)",
    "mac_roman": "Mac Roman (Western European)",
    "mac_cyrillic": "Mac Cyrillic",
}


@dataclass(frozen=True)
class Dialect:
    """How a file is written. Gzip is no part of it: that is seen from the first bytes each time the file is read."""

    format: str = "jsonl"
    encoding: str = "utf-8"
    delimiter: str = ","
    header_line: int = 1  # 2 where line 1 is "sep=;", which names the delimiter; 0 where no line names the columns
    quoting: bool = True  # False: a double quote is a character like others
    export: str = ""  # of EXPORTS

    def __post_init__(self) -> None:
        for value, known, what in (
            (self.format, FORMATS, "format"),
            (self.encoding, ENCODINGS, "encoding"),
            (self.delimiter, DELIMITERS, "delimiter"),
            (self.header_line, (0, 1, 2), "header line"),
            (self.quoting, (False, True), "quoting"),
            (self.export, EXPORTS, "export"),
        ):
            if not isinstance(value, str | int) or value not in known:
                raise InvalidInput(
                    _("There is no %(what)s %(value)s; there are: %(repr)s.")
                    % {"what": what, "value": repr(value), "repr": ", ".join(map(repr, known))}
                )
        if self.format != "csv" and self.encoding != "utf-8":
            what = "JSON Lines" if self.format == "jsonl" else "JSON"
            raise InvalidInput(
                _("%(what)s is always UTF-8 (RFC 8259, section 8.1); save the file as UTF-8.") % {"what": what}
            )

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "Dialect":
        """The dialect with these fields of `to_json`; missing ones have defaults. InvalidInput for unknown ones."""
        if unknown := sorted(written.keys() - asdict(cls()).keys()):
            raise InvalidInput(_("A file has no %(unknown)s that could be chosen.") % {"unknown": repr(unknown[0])})
        return cls(**written)

    @classmethod
    def is_whole(cls, written: Mapping[str, Any]) -> bool:
        """Whether nothing is left to be detected: every field of a dialect is there."""
        return written.keys() == asdict(cls()).keys()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


JSONL = Dialect()
