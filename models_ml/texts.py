"""Which characters of a text can be seen: a text without any is empty, whatever its length."""

from unicodedata import category

# Letters and marks by category that show nothing: grapheme joiner, Hangul fillers, Khmer inherent vowels, variation
# selectors; and the pattern of Braille without a dot.
_BLANK_MARKS = frozenset(
    [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]
)
_UNSEEN = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})  # controls, formats (joiners, marks of direction), blanks
# Format characters that are cut off at the ends of a name. Tags are not among them: a flag can end in some.
_FORMATS = frozenset(
    map(chr, [0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF])
)


def has_text(text: str) -> bool:
    """Whether anything of `text` can be seen."""
    return any(_is_seen(character) for character in text)


def trimmed(text: str) -> str:
    """`text` without blanks (no-break ones too), line ends and invisible format characters at both ends."""
    start, end = 0, len(text)
    while start < end and _is_trimmed(text[start]):
        start += 1
    while start < end and _is_trimmed(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_seen(character: str) -> bool:
    return category(character) not in _UNSEEN and ord(character) not in _BLANK_MARKS


def _is_trimmed(character: str) -> bool:
    return character.isspace() or character in _FORMATS
