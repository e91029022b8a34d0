"""Decides what proves that an account's address is its person's: a mailed link, or the word of who runs the site."""

import hashlib
import secrets
from datetime import datetime, timedelta
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from annotate import access
from annotate.accounts import mail, sign_in
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.models import AddressLink, MailState, PasswordReset, User
from annotate.models.base import database_now
from annotate.models.event import record

VALID = timedelta(hours=24)


class NoMail(Conflict):
    """This site has no mail server."""

    def __init__(self) -> None:
        super().__init__(_("This site sends no mail. Who runs it can vouch for you, or make you a link."))


def send_link(*, by: User, now: datetime | None = None) -> AddressLink:
    """Mail a link to the address of `by` that proves it once it is used.

    Conflict where it is proven already; NoMail without a mail server; TooManyMails after MAILS_PER_ADDRESS.
    """
    if by.proven_at is not None:
        raise Conflict(_("Your address is proven already."))
    return _mail_link(by, by.email, now)


def ask_for_change(*, by: User, email: str, password: str, client: str, now: datetime | None = None) -> AddressLink:
    """Mail a link to another address, which becomes that of `by`, who proves the password, once the link is used.

    Whether the other address has an account is not told: only whoever reads its mail learns that it is taken.
    """
    if not mail.is_set():
        raise NoMail
    email = email.strip().lower()
    if email == by.email:
        raise InvalidInput(_("This is your address already."))
    sign_in.verify(email=by.email, password=password, client=client, now=now)
    return _mail_link(by, email, now)


def find(*, token: str, by: User, now: datetime | None = None) -> AddressLink:
    """The open link with this token, made for `by`; NotFound if it does not work.

    Only the account that it was made for may use it: else somebody who holds an account under another person's address
    would only need that person to click.
    """
    links = _open(now or database_now()).select_related("user")
    link = links.filter(token_sha256=digest(token)).first()
    if link is None:
        raise _gone()
    if link.user_id != by.pk:
        raise Conflict(_("This link is for another account. Sign in with that one, and open the link again."))
    return link


def use(*, token: str, by: User, client: str, now: datetime | None = None) -> User:
    """Prove the address of the link, which becomes that of `by` if it was another; works once."""
    with sign_in.guessing(failures=NotFound, client=client, now=now):
        link = find(token=token, by=by, now=now)
    now, old = now or database_now(), by.email
    try:
        with transaction.atomic():
            if _open(now).filter(pk=link.pk).update(used_at=now) != 1:
                raise _gone()
            _open(now).filter(user=by).update(revoked_at=now)
            if link.mailed_to != old:
                User.objects.filter(pk=by.pk).update(email=link.mailed_to)
                # Whoever reads the old address must not be able to choose a new password.
                PasswordReset.objects.filter(user=by, used_at__isnull=True, expires_at__gt=now).update(revoked_at=now)
                record("address.changed", project=None, by=by, link=link.public_id)
            prove(user=by, email=link.mailed_to, how="link", now=now)
    except IntegrityError:
        raise Conflict(_("Another account has this address by now.")) from None
    by.refresh_from_db()
    return by


def prove(*, user: User, email: str, how: str, now: datetime) -> None:
    """Note that `user` used a link that was mailed to `email`; nothing where that is not the user's address."""
    if email and User.objects.filter(pk=user.pk, email=email).update(proven_at=now):
        user.proven_at = now
        record("address.proven", project=None, by=user, how=how)


def lose_proof(*, user: User, why: str) -> None:
    """Take the mailed proof back, for instance because somebody else could have chosen the user's password."""
    if User.objects.filter(pk=user.pk, proven_at__isnull=False).update(proven_at=None):
        user.proven_at = None
        record("address.unproven", project=None, by=user, why=why)


@transaction.atomic
def vouch(*, user: User, by: User | None, now: datetime | None = None) -> User:
    """Say that the account is one known person's. `by` owns the site, or is None for a command on the server."""
    if by is not None:
        access.require_site_owner(by)
        if by.pk == user.pk:
            raise Conflict(_("Nobody vouches for themselves; another owner of the site can."))
    if user.is_simulated:
        raise Conflict(_("%(person)s is simulated: there is no person to vouch for.") % {"person": user})
    unvouched = User.objects.filter(pk=user.pk, vouched_at__isnull=True)
    if unvouched.update(vouched_at=now or database_now(), vouched_by=by):  # twice is once
        record("account.vouched", project=None, by=by, user=user.public_id)
    user.refresh_from_db()
    return user


@transaction.atomic
def take_back_vouch(*, user: User, by: User | None) -> User:
    """Take back what `vouch` said; any owner of the site may."""
    if by is not None:
        access.require_site_owner(by)
    if User.objects.filter(pk=user.pk, vouched_at__isnull=False).update(vouched_at=None, vouched_by=None):
        record("account.vouch_taken_back", project=None, by=by, user=user.public_id)
    user.refresh_from_db()
    return user


def open_links(user: User, now: datetime) -> QuerySet[AddressLink]:
    """The links of this user that can still be used, the newest last."""
    return _open(now).filter(user=user).order_by("pk")


def revoke_links(user: User, now: datetime) -> int:
    """End the open links of this user; returns how many."""
    return open_links(user, now).update(revoked_at=now)


def digest(token: str) -> str:
    """The SHA-256 of a one-time token, by which its row is found."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _mail_link(by: User, email: str, now: datetime | None) -> AddressLink:
    """Mail a link to `email`; older links of `by` end."""
    if not mail.is_set():
        raise NoMail
    now, token = now or database_now(), secrets.token_urlsafe(32)
    sign_in.count_mail(kind="address", email=email, by=by, now=now)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=by.pk)  # of two links made at once only the later one stays open
        revoke_links(by, now)
        link = AddressLink.objects.create(
            user=by,
            token_sha256=digest(token),
            mailed_to=email,
            mail_state=MailState.WAITING,
            expires_at=now + VALID,
        )
        record("address.link_mailed", project=None, by=by, link=link.public_id)
        if email == by.email or not User.objects.filter(email=email).exists():
            compose = partial(_letter, by, email, token)
        else:
            compose = partial(_letter_of_taken, email)
        mail.send_after_commit(link, mail.letter(to=email, language=by.language, compose=compose))
    return link


def _letter(by: User, email: str, token: str) -> tuple[str, list[str]]:
    url = mail.link(reverse("address-prove", args=[token]))
    if email == by.email:
        first = _("Somebody, probably you, wants to prove that %(email)s is the address of their account.")
    else:
        first = _("Somebody, probably you, wants %(email)s to become the address of their account.")
    return _("Is this your address?"), [
        first % {"email": email},
        _("Sign in and open this link; it works once, within 24 hours:"),
        url,
        _("If it was not you, do nothing."),
    ]


def _letter_of_taken(email: str) -> tuple[str, list[str]]:
    return _("This address has an account"), [
        _("Somebody, perhaps you, wants %(email)s to become the address of another account.") % {"email": email},
        _("There is an account with this address already, so nothing was changed. Sign in with it, or ask for a new "
          "password on the page where one signs in."),
        _("If it was not you, do nothing."),
    ]  # fmt: skip


def _open(now: datetime) -> QuerySet[AddressLink]:
    return AddressLink.objects.filter(used_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now)


def _gone() -> NotFound:
    return NotFound(_("This link does not work: it was used, replaced or has expired. Ask for a new one."))
