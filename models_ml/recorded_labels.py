"""Machine labels that a labeled dataset brings along: a column, or what annotators listed in `annotations` said."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

ANNOTATIONS = "annotations"  # a list of {"annotator", "label"} in each row; who abstained is not in it
MAJORITY = "majority"


def recorded_label(row: Mapping[str, Any], source: str) -> str | None:
    """What `source` says of the row; None: nothing, or several labels alike.

    `source`: the name of a column; "annotations:majority": the label that more annotators gave than any other (none
    where two lead); "annotations:NAME": the label by the annotator of that name.
    """
    kind, colon, name = source.partition(":")
    if not colon or kind != ANNOTATIONS or source in row:
        return _text(row.get(source))
    listed = row.get(ANNOTATIONS)
    said = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    if name != MAJORITY:
        return next((_text(one.get("label")) for one in said if str(one.get("annotator")) == name), None)
    counts = Counter(label for one in said if (label := _text(one.get("label"))) is not None).most_common(2)
    is_clear = len(counts) == 1 or (len(counts) == 2 and counts[0][1] > counts[1][1])
    return counts[0][0] if is_clear else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
