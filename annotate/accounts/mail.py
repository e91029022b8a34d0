"""Sends mails with one-time links, where the site has a mail server; what became of each stands in the link's row.

A mail is sent after the transaction that made its link, by a thread of this process (background.py): no request waits
for a mail server, and none fails with it. The text holds the token, so it is kept nowhere: a mail that was lost with
its process stays `waiting`, and whoever may act sends another.
"""

import logging
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from unicodedata import category

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import translation
from django.utils.translation import gettext as _

from annotate import restored
from annotate.accounts import background
from annotate.models.invitation import MailedLink, MailState

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Letter:
    """A mail in plain text: whom it is for, and what it says in their language."""

    to: str
    subject: str
    text: str


def is_set() -> bool:
    """Whether this site sends mail: EMAIL_URL is set."""
    return bool(settings.HAS_MAIL)


def link(path: str) -> str:
    """The address of a page for a mail: from SITE_URL alone, since a request may claim any host."""
    return f"{settings.SITE_URL}{path}"


def letter(*, to: str, language: str, compose: Callable[[], tuple[str, list[str]]]) -> Letter:
    """The mail that `compose` gives as (subject, paragraphs), called in the reader's language.

    Each paragraph is one line: no name in it, of a person or a project, begins a line of its own.
    """
    with translation.override(language):
        subject, paragraphs = compose()
        paragraphs = [*paragraphs, _("Goldloop at %(site)s") % {"site": settings.SITE_URL}]
    return Letter(to=to, subject=_one_line(subject), text="\n\n".join(map(_one_line, paragraphs)) + "\n")


def _one_line(text: str) -> str:
    """`text` with one blank for all that is white space, ends a line or controls a terminal."""
    seen = (" " if category(character) in ("Cc", "Zl", "Zp") else character for character in text)
    return " ".join("".join(seen).split())


def send_after_commit(row: MailedLink, letter: Letter) -> None:
    """Send the mail with the link of `row`, which is `waiting`, once the present transaction is committed."""
    background.after_commit(partial(_send, type(row), row.pk, row.token_sha256, letter))


def _send(model: type[MailedLink], pk: int, token_sha256: str, letter: Letter) -> None:
    """Send the mail, and note in the row whether the mail server took it."""
    state, problem = MailState.SENT, ""
    try:
        if restored.mail_is_held():
            raise MailHeld
        EmailMessage(letter.subject, letter.text, settings.DEFAULT_FROM_EMAIL, [letter.to]).send()
    except Exception as error:  # whatever it is, whoever may act must see that nothing was sent
        state, problem = MailState.FAILED, _problem(error)
        _log.warning("A mail could not be sent: %s", type(error).__name__)  # its text may hold address and password
    # By the token: the link may have been sent anew meanwhile.
    rows: Any = model._default_manager.filter(pk=pk, token_sha256=token_sha256)
    rows.update(mail_state=state, mail_problem=problem)


class MailHeld(Exception):
    """The site was restored from a backup, and nobody has confirmed that yet."""


def _problem(error: Exception) -> str:
    if isinstance(error, MailHeld):
        return _("This site was restored from a backup, and sends no mail before an operator confirms that.")
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return _("The mail server refused the address.")
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return _("The mail server refused this site's user name or password.")
    if isinstance(error, smtplib.SMTPSenderRefused):
        return _("The mail server refused this site's sender address.")
    if isinstance(error, smtplib.SMTPException) and not isinstance(error, smtplib.SMTPServerDisconnected):
        return _("The mail server refused the mail.")
    if isinstance(error, OSError):  # SMTPServerDisconnected is one, too
        return _("The mail server was not reached, or did not answer in time.")
    return _("The mail could not be made.")
