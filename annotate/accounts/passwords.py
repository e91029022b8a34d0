"""Decides who gets a new password: whoever knows the old one, or has a one-time link, mailed or made by an admin.

Whoever makes a link for a person and is shown it could use it to become that person. So only owners of the site may
make one, and those who manage every project that the person belongs to: they can do all that the person can do.
A link that is mailed is shown to nobody, so anybody may ask for one.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from annotate import access
from annotate.access import MAY
from annotate.accounts import addresses, background, mail, sign_in, tokens
from annotate.accounts.addresses import digest
from annotate.errors import AccessDenied, NotFound
from annotate.models import MailState, Member, PasswordReset, Project, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.models.project import Role

VALID = timedelta(hours=24)
DELAY = (1.0, 5.0)  # seconds: longer than who asks can tell the work for one mail from other work; nobody waits long


def change(
    *,
    by: User,
    old: str,
    new: str,
    client: str,
    session: str = "",
    ends_tokens: bool = False,
    now: datetime | None = None,
) -> int:
    """Set the new password of `by`, who proves the old one.

    Ends all their sessions but `session`, their open links and, with `ends_tokens`, their API tokens; returns how many
    tokens ended.
    """
    sign_in.verify(email=by.email, password=old, client=client, now=now)
    sign_in.check_password(new, by)
    by.password = make_password(new)  # before the transaction: hashing takes long
    with transaction.atomic():
        by.save(update_fields=["password"])
        n_tokens = tokens.revoke_all(user=by, now=now) if ends_tokens else 0
        sign_in.end_sessions(user=by, but=session, now=now)
        revoke_links(by, now or database_now())
        record("password.changed", project=None, by=by, n_tokens=n_tokens)
    return n_tokens


def may_be_helped(by: User) -> QuerySet[User]:
    """The people for whom `by` may make a link: not `by`, and nobody who cannot sign in."""
    others = User.objects.filter(is_active=True, is_simulated=False).exclude(pk=by.pk)
    if not by.is_active:
        return others.none()
    return others if by.is_site_owner else others.filter(_is_in_the_hands_of(by), is_site_owner=False)


@transaction.atomic
def make_link(*, user: User, by: User, now: datetime | None = None) -> tuple[PasswordReset, str]:
    """Make a link by which `user` can choose a new password; returns it with its token. Their older links end.

    Only a hash of the token is stored, so it is shown this once.
    """
    if not may_be_helped(by).filter(pk=user.pk).exists():
        raise AccessDenied(
            _("For %(person)s only those who run this site can make a link for a new password.") % {"person": user}
        )
    now, token = now or database_now(), secrets.token_urlsafe(32)
    User.objects.select_for_update().get(pk=user.pk)  # of two links made at once only the later one stays open
    n_revoked = revoke_links(user, now)
    link = PasswordReset.objects.create(user=user, token_sha256=digest(token), created_by=by, expires_at=now + VALID)
    record("password.link_made", project=None, by=by, user=user.public_id, link=link.public_id, n_revoked=n_revoked)
    return link, token


def some_seconds() -> float:
    """After how long a request for a new password is looked at: nobody outside can tell when."""
    return secrets.SystemRandom().uniform(*DELAY)


def ask(*, email: str, client: str, now: datetime | None = None, delay: Callable[[], float] = some_seconds) -> None:
    """Mail a link for a new password to whoever has an account with this address.

    All that depends on the account happens in the background, and after `delay` seconds, so that neither the answer nor
    its time, nor that of the requests right after it, tells whether there is one. NoMail without a mail server;
    TooManyMails alike for addresses with and without an account.
    """
    if not mail.is_set():
        raise addresses.NoMail
    email = email.strip().lower()
    sign_in.count_mail(kind="password", email=email, client=client, now=now)
    background.after_commit(partial(_mail_link, email=email, now=now), delay=delay())


def unsent(by: User, now: datetime | None = None) -> QuerySet[PasswordReset]:
    """The open links that were asked for and not sent, one for a person, for owners of the site to send again."""
    access.require_site_owner(by)
    mailed = _open(now or database_now()).exclude(mailed_to="").exclude(mail_state=MailState.SENT)
    return mailed.select_related("user").order_by("-pk")


def send_again(*, public_id: str, by: User, now: datetime | None = None) -> User:
    """Mail a new link to whoever asked for the one with this public id, which was not sent; returns the person."""
    link = unsent(by, now).filter(public_id=public_id).first()
    if link is None:
        raise NotFound(_("There is no such mail that was not sent."))
    sign_in.count_mail(kind="password", email=link.mailed_to, now=now)
    _mail_link(email=link.mailed_to, by=by, now=now)
    return link.user


@transaction.atomic
def make_link_in(*, project: Project, person: str, by: User) -> tuple[PasswordReset, str]:
    """As `make_link`, for the member of `project` with the public id `person`; `by` must manage the project."""
    access.require(by, project, to="manage")
    user = User.objects.filter(memberships__project=project, public_id=person).first()
    if user is None:
        raise NotFound(_("There is no such person in this project."))
    return make_link(user=user, by=by)


def find(*, token: str, now: datetime | None = None) -> PasswordReset:
    """The open link with this token; NotFound, in the same words whatever the reason, if it does not work."""
    links = _open(now or database_now()).select_related("user", "created_by")
    link = links.filter(token_sha256=digest(token)).first()
    if link is None or not _is_still_right(link):
        raise _gone()
    return link


def _is_still_right(link: PasswordReset) -> bool:
    """Whether the link may still be used: a mailed one by whoever reads the account's address.

    Who made another may have lost the right since, for instance because the person owns a project by now.
    """
    if link.mailed_to:
        return link.user.is_active and link.user.email == link.mailed_to
    return may_be_helped(link.created_by).filter(pk=link.user_id).exists()


def use(*, token: str, new: str, client: str, now: datetime | None = None) -> User:
    """Set the new password of the link's person, once; all their sessions, API tokens and other links end."""
    with sign_in.guessing(failures=NotFound, client=client, now=now):
        link = find(token=token, now=now)
    user, now = link.user, now or database_now()
    sign_in.check_password(new, user)
    user.password = make_password(new)  # before the transaction: hashing takes long
    with transaction.atomic():
        if _open(now).filter(pk=link.pk).update(used_at=now) != 1:
            raise _gone()
        user.save(update_fields=["password"])
        n_sessions = sign_in.end_sessions(user=user, now=now)
        n_tokens = tokens.revoke_all(user=user, now=now)
        revoke_links(user, now)
        sign_in.forget_failures(user.email)
        if link.mailed_to:
            addresses.prove(user=user, email=link.mailed_to, how="password", now=now)
        else:  # whoever made the link was shown it, and may be the one who used it
            addresses.lose_proof(user=user, why="password link")
        record("password.reset", project=None, by=user, link=link.public_id, n_sessions=n_sessions, n_tokens=n_tokens)
    return user


@transaction.atomic
def _mail_link(*, email: str, by: User | None = None, now: datetime | None = None) -> PasswordReset | None:
    """Mail a link to the person with this address; None if there is nobody who signs in with it.

    Their older links that were mailed end. `by`: who sends a mail again; None: the person asked.
    """
    user = User.objects.select_for_update().filter(email=email, is_active=True, is_simulated=False).first()
    if user is None:
        return None
    now, token = now or database_now(), secrets.token_urlsafe(32)
    _open(now).filter(user=user).exclude(mailed_to="").update(revoked_at=now)
    link = PasswordReset.objects.create(
        user=user,
        token_sha256=digest(token),
        mailed_to=email,
        mail_state=MailState.WAITING,
        created_by=user,
        expires_at=now + VALID,
    )
    record("password.link_mailed", project=None, by=by or user, user=user.public_id, link=link.public_id)
    mail.send_after_commit(link, mail.letter(to=email, language=user.language, compose=partial(_letter, email, token)))
    return link


def _is_in_the_hands_of(by: User) -> Q:
    """Users who belong to at least one project, own none, and belong only to projects that `by` manages."""
    all_of_them = Member.objects.filter(user=OuterRef("pk"))
    managed = Member.objects.filter(user=by, role__in=MAY["manage"]).values("project")
    beyond = all_of_them.filter(Q(role=Role.OWNER) | ~Q(project__in=managed))
    return Q(Exists(all_of_them)) & ~Q(Exists(beyond))


def _open(now: datetime) -> QuerySet[PasswordReset]:
    """Links that still work. Filters by columns of the row only: after waiting for a row's lock, PostgreSQL checks
    the row's own columns again, but not those of joined rows.
    """
    return PasswordReset.objects.filter(used_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now)


def open_links(user: User, now: datetime) -> QuerySet[PasswordReset]:
    """The links of this user that can still be used."""
    return _open(now).filter(user=user)


def revoke_links(user: User, now: datetime) -> int:
    """End the open links of this user; returns how many."""
    return open_links(user, now).update(revoked_at=now)


def _letter(email: str, token: str) -> tuple[str, list[str]]:
    return _("A new password"), [
        _("Somebody, probably you, asked for a new password for %(email)s.") % {"email": email},
        _("Open this link to choose it; it works once, within 24 hours:"),
        mail.link(reverse("password-reset", args=[token])),
        _("If it was not you, do nothing: your password stays as it is."),
    ]


def _gone() -> NotFound:
    return NotFound(_("This link does not work: it was used, replaced or has expired. Ask for a new one."))
