"""Decides how names that people gave read on a page."""

import re

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
_JOINT = re.compile(r"(?<=\w[_/-])(?=\w)")
_WBR = mark_safe("<wbr>")


@register.filter
def breakable(name: str) -> SafeString:
    """A name that may break after an underscore, hyphen or slash: card_<wbr>arrival."""
    return format_html_join(_WBR, "{}", ((part,) for part in _JOINT.split(str(name))))
