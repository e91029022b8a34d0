"""Decides who signs in: checks passwords and limits guesses; ends sessions; changes a person's name and time zone."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.contrib.auth import SESSION_KEY, authenticate
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.errors import GoldloopError, InvalidInput, NotStored
from annotate.models import SignInFailure, User, bulk
from annotate.models.base import database_now, is_storable, time_zones
from annotate.models.event import record

WINDOW = timedelta(minutes=15)
PER_ADDRESS = 5  # failures for one e-mail address within WINDOW
PER_CLIENT = 20  # failures from one network address within WINDOW; an office may share one
MAILS_PER_ADDRESS = 3  # of each kind, within WINDOW: nobody fills somebody's mailbox
MAILS_PER_CLIENT = 20  # asked for from one network address within WINDOW
MAILS_PER_PERSON = 100  # to others, by somebody who is signed in, within WINDOW: a class or a team is invited at once


class BadName(InvalidInput):
    """Nobody can be called so."""


class TooManyAttempts(GoldloopError):
    """Too many wrong guesses; the next one is looked at after `seconds` seconds."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        minutes = math.ceil(seconds / 60)
        super().__init__(self._sentence(minutes) % {"minutes": minutes})

    @staticmethod
    def _sentence(minutes: int) -> str:
        return ngettext(
            "Too many attempts that failed. Try again in %(minutes)d minute.",
            "Too many attempts that failed. Try again in %(minutes)d minutes.",
            minutes,
        )


class TooManyMails(TooManyAttempts):
    """Too many mails were asked for; the next one can be asked for after `seconds` seconds."""

    @staticmethod
    def _sentence(minutes: int) -> str:
        return ngettext(
            "Too many mails were asked for. Try again in %(minutes)d minute.",
            "Too many mails were asked for. Try again in %(minutes)d minutes.",
            minutes,
        )


class SignInClosed(NotStored):
    """Guesses cannot be counted, so that none is looked at: else passwords could be guessed without end."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "Nobody can sign in at the moment, because this site cannot store anything. Whoever is signed in stays "
                "so. Try again when whoever runs the site has looked at it."
            )
        )


class WrongPassword(InvalidInput):
    """No such person, another password, or an account that cannot sign in. The message does not tell which."""

    def __init__(self) -> None:
        super().__init__(_("This e-mail address and password do not fit together."))


@contextmanager
def guessing(
    *, failures: type[GoldloopError], client: str, email: str = "", now: datetime | None = None
) -> Iterator[None]:
    """Limit guesses: the body is one guess by `client` (at the account `email`), wrong if it raises one of `failures`.

    TooManyAttempts, before the body runs, after too many wrong guesses within WINDOW; SignInClosed where the guess
    cannot be counted. Each guess is counted as wrong
    before it is looked at, and uncounted if it was right: of many guesses at the same moment each sees all others,
    so no more than the limit get through. Guesses refused here are not counted: a lock lasts WINDOW at most.
    """
    now = now or database_now()
    limits = {_key("client", client): PER_CLIENT}
    if email:
        limits[_key("address", email)] = PER_ADDRESS
    try:
        rows, seconds = _count(limits, now)
    except DatabaseError as error:
        raise SignInClosed from error
    try:
        if seconds:
            raise TooManyAttempts(seconds)
        yield
    except failures:
        SignInFailure.objects.filter(at__lte=now - WINDOW).delete()
        raise
    except BaseException:
        rows.delete()
        raise
    rows.delete()


def count_mail(*, kind: str, email: str, client: str = "", by: User | None = None, now: datetime | None = None) -> None:
    """Count a mail of this kind to `email`; TooManyMails, and nothing counted, if there were too many within WINDOW.

    `client`: the network address of somebody who is not signed in; `by`: who is. Counts alike whether or not `email`
    has an account.
    """
    now = now or database_now()
    limits = {_key(f"mail.{kind}", email.strip().lower()): MAILS_PER_ADDRESS}
    if client:
        limits[_key("mail.client", client)] = MAILS_PER_CLIENT
    if by is not None:
        limits[_key("mail.person", by.public_id)] = MAILS_PER_PERSON
    SignInFailure.objects.filter(at__lte=now - WINDOW).delete()
    rows, seconds = _count(limits, now)
    if seconds:
        rows.delete()
        raise TooManyMails(seconds)


def verify(*, email: str, password: str, client: str, now: datetime | None = None) -> User:
    """The person with this e-mail address and password; WrongPassword, and a failure counted, if they do not match.

    A right password clears the failures of the address.
    """
    email = email.strip().lower()
    with guessing(failures=WrongPassword, client=client, email=email, now=now):
        user = authenticate(username=email, password=password)  # as slow for an address that nobody has
        if not isinstance(user, User) or user.is_simulated:
            raise WrongPassword
    forget_failures(email)
    return user


def forget_failures(email: str) -> None:
    """Clear the failures counted for this e-mail address: its person has proved to be there."""
    SignInFailure.objects.filter(key=_key("address", email)).delete()


def check_password(password: str, user: User) -> None:
    """InvalidInput where `password` is too weak to be the new password of `user`."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidInput(" ".join(error.messages)) from None


def checked_name(name: str) -> str:
    """The name of a person without blanks around it; BadName unless it is one short line that can be printed."""
    name = name.strip()
    if not 1 <= len(name) <= 150 or not name.isprintable() or not is_storable(name):
        raise BadName(_("A name has 1 to 150 printable characters."))
    return name


def end_sessions(*, user: User, but: str = "", now: datetime | None = None) -> int:
    """End all sessions of `user` except the one with the key `but`; returns how many ended.

    A session's row does not name its user, so every session that has not expired is read: 10,000 took 0.9 s on two
    busy cores. That is only done on request and with a new password.
    """
    keys = [key for key in _sessions(user, now or database_now()) if key != but]
    return sum(Session.objects.filter(session_key__in=part).delete()[0] for part in bulk.parts(keys))


def n_sessions(*, user: User, now: datetime | None = None) -> int:
    """In how many places `user` is signed in; reads every session, as `end_sessions` does."""
    return len(_sessions(user, now or database_now()))


@transaction.atomic
def sign_out_elsewhere(*, by: User, session: str, now: datetime | None = None) -> int:
    """End all sessions of `by` except `session`; returns how many ended."""
    n_ended = end_sessions(user=by, but=session, now=now)
    record("sessions.ended", project=None, by=by, n_sessions=n_ended)
    return n_ended


@transaction.atomic
def change_profile(*, by: User, name: str, time_zone: str) -> User:
    """Set the name of `by` and the time zone in which they read times."""
    name = checked_name(name)
    if time_zone not in time_zones():
        raise InvalidInput(_("%(zone)r is no time zone; choose one of the list.") % {"zone": time_zone})
    User.objects.filter(pk=by.pk).update(name=name, time_zone=time_zone)
    by.name, by.time_zone = name, time_zone
    record("profile.changed", project=None, by=by)
    return by


def _count(limits: dict[str, int], now: datetime) -> tuple[QuerySet[SignInFailure], int]:
    """Store one row for each key; returns them, and in how many seconds all keys are below their limits without them.

    Stored before others are counted: of many at the same moment each sees all others, so no more than the limit pass.
    """
    recorded = SignInFailure.objects.bulk_create(SignInFailure(key=key, at=now) for key in limits)
    rows = SignInFailure.objects.filter(pk__in=[row.pk for row in recorded])
    free_at = max(_free_at(key, limit, rows, now) for key, limit in limits.items())
    return rows, max(0, math.ceil((free_at - now).total_seconds()))


def _sessions(user: User, now: datetime) -> list[str]:
    """The keys of all sessions of `user` that have not expired."""
    alive = Session.objects.filter(expire_date__gt=now)
    return [row.session_key for row in alive.iterator() if row.get_decoded().get(SESSION_KEY) == str(user.pk)]


def _free_at(key: str, limit: int, mine: QuerySet[SignInFailure], now: datetime) -> datetime:
    """The moment from which fewer than `limit` failures of this key, besides `mine`, are younger than WINDOW."""
    failures = SignInFailure.objects.filter(key=key, at__gt=now - WINDOW).exclude(pk__in=mine.values("pk"))
    newest = list(failures.order_by("-at").values_list("at", flat=True)[:limit])
    return newest[-1] + WINDOW if len(newest) == limit else now


def _key(kind: str, value: str) -> str:
    """A keyed hash: e-mail and network addresses themselves are not stored."""
    return salted_hmac(f"annotate.accounts.sign_in.{kind}", value, algorithm="sha256").hexdigest()
