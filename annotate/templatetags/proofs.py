"""Decides in which words pages say what proves that one person holds an account."""

from django import template
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotate.models import Proof, User

register = template.Library()
WORDS: dict[Proof, Promise] = {
    Proof.MAILED: _("address proven"),
    Proof.VOUCHED: _("vouched for"),
    Proof.UNPROVEN: _("address not proven"),
    Proof.SIMULATED: _("simulated"),
}


@register.filter
def proof(person: User) -> Promise:
    """What proves that one person holds the account, in two or three words."""
    return WORDS[person.proof]
