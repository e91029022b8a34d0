"""Decides how numbers, money, durations and sizes read on a page."""

from decimal import Decimal
from typing import Any

from django import template
from django.utils import formats
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

register = template.Library()


def _number(value: float, digits: int = 0) -> str:
    # number_format truncates, so the value is rounded first.
    return str(formats.number_format(round(value, digits), decimal_pos=digits, force_grouping=True))


@register.filter
def count(value: Any) -> str:
    """A number with thousands separators of the reader's language: 1,500."""
    return _number(int(value or 0))


@register.filter
def shortened(value: Any, most: int) -> str:
    """The first `most` characters of a text. (Django's truncatechars composes all of it first, which takes minutes for
    a hundred thousand combining marks.)"""
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


@register.filter
def percent(value: float | None) -> str:
    """A share between 0 and 1 as 93.1 %."""
    return "–" if value is None else _("%(n)s %%") % {"n": _number(100 * value, 1)}


@register.filter
def interval(figure: Any) -> str:
    """The interval `low` to `high` of an object or a dict (an entry of a manifest): 91.0–95.0 %."""
    values = figure if isinstance(figure, dict) else vars(figure) if figure is not None else {}
    low, high = values.get("low"), values.get("high")
    if low is None or high is None:
        return "–"
    ends = {"low": _number(100 * low, 1), "high": _number(100 * high, 1)}
    return _("%(low)s–%(high)s %%") % ends


@register.filter
def money(micros: int, currency: str) -> SafeString:
    """Micro-units as an amount with two decimals and its currency, on one line."""
    amount = _number(micros / 1e6, 2)
    return format_html('<span class="whitespace-nowrap">{} {}</span>', amount, currency)


@register.filter
def cost(micros: int | None, currency: str) -> SafeString | str:
    """As `money`, with up to six decimals: one question to a model costs far less than a cent."""
    if micros is None:
        return "–"
    digits = next(n for n in range(2, 7) if micros % 10 ** (6 - n) == 0)
    amount = formats.number_format(Decimal(micros) / 1_000_000, decimal_pos=digits, force_grouping=True)
    return format_html('<span class="whitespace-nowrap">{} {}</span>', amount, currency)


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds as 8 s, 3 min 20 s or 2 h 5 min."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return _("%(s)s s") % {"s": whole}
    if whole < 3600:
        return _("%(m)s min %(s)s s") % {"m": whole // 60, "s": whole % 60}
    return _("%(h)s h %(m)s min") % {"h": whole // 3600, "m": whole % 3600 // 60}


@register.filter
def file_size(n_bytes: int) -> str:
    """Bytes as 12 B, 3.4 KB, 5.6 MB (powers of 1000)."""
    size, unit = float(n_bytes), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):  # noqa: B007
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{_number(size, 0 if unit == 'B' else 1)} {unit}"
