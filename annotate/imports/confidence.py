"""Decides on which scale the confidences of a column are, from its first rows, and says what was read by it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, BinaryIO

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.errors import InvalidInput
from annotate.formats.columns import Fields
from annotate.formats.reader import Line
from annotate.imports.rows import ImportedSilver, Rules
from annotate.models import Import, Label, Prediction
from models_ml.confidences import Scale, scale_of

N_SAMPLED = 1_000  # rows that decide; all rows are then read strictly by it


def scaled(rules: Rules, lines: Iterable[Line]) -> Rules:
    """The rules with the scale of the column of confidences, decided by the first N_SAMPLED lines."""
    column = rules.fields.confidence
    if column is None:
        return rules
    rows = _parsed(rules, islice(lines, N_SAMPLED))
    return replace(rules, scale=scale_of(rules.value(row, column) for row in rows))


def scale_in(rules: Rules, file: BinaryIO) -> Scale:
    """The scale of the column of confidences of this file."""
    return scaled(rules, rules.reader.lines(file)).scale


def notes(fields: Fields, scale: Scale, n_labels: int, n_unread: int) -> list[str]:
    """Sentences about the scale of a column of confidences, and how many could not be read by it."""
    if fields.confidence is None:
        return []
    names = {"name": fields.confidence}
    if n_labels != 2:
        sentence = _('The confidences in "%(name)s" become metadata: of more than two labels they are no distribution.')
        return [sentence % names]
    if scale is Scale.PERCENT:
        said = [_('The confidences in "%(name)s" are read as percent, from 0 to 100.') % names]
    else:
        said = [_('The confidences in "%(name)s" are read as fractions, from 0 to 1.') % names]
    if n_unread:
        sentence = ngettext(
            "%(n)d of them is no such number: that label is taken without a confidence, which its item names.",
            "%(n)d of them are no such numbers: these labels are taken without a confidence, which their items name.",
            n_unread,
        )
        said.append(sentence % {"n": n_unread})
    return said


def n_unread(silver: Iterable[ImportedSilver | None]) -> int:
    """How many of these labels have a confidence that could not be read."""
    return sum(one is not None and one.status == Prediction.Status.OK and bool(one.message) for one in silver)


def report(source: Import) -> list[str]:
    """The notes about a finished import, for its log."""
    labels = Prediction.objects.filter(item__source=source, status=Prediction.Status.OK).exclude(message="")
    scale = Scale(source.options.get("confidence_scale", Scale.FRACTION))
    n_labels = Label.objects.filter(schema__project=source.project, schema__version=source.options["schema"]).count()
    return notes(Fields(**source.options["fields"]), scale, n_labels, labels.count())


def _parsed(rules: Rules, lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
    for _number, raw, is_whole in lines:
        try:
            if is_whole:
                yield rules.parse(raw)
        except InvalidInput:
            continue
