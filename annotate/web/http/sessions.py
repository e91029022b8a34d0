"""Decides who is signed in, as Django does, with the two queries of every request compiled once (models/prepared)."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models import BigIntegerField, CharField, DateTimeField, QuerySet, Value
from django.utils import timezone

from annotate.models import User
from annotate.models.compiled import CompiledQuery


class SessionStore(db.SessionStore):
    """Django's sessions in the database; SESSION_ENGINE requires this class name."""

    def _get_session_from_db(self) -> Session | None:
        sessions = _SESSION.objects(key=self.session_key, now=timezone.now())
        if not sessions:
            self._session_key = None
        return sessions[0] if sessions else None


class Backend(ModelBackend):
    """Django's backend for e-mail and password; only the query for the signed-in user is our own."""

    def get_user(self, user_id: Any) -> User | None:
        users: list[User] = _USER.objects(person=user_id)
        return users[0] if users and self.user_can_authenticate(users[0]) else None


def _session(*, key: Value, now: Value) -> QuerySet[Session]:
    return Session.objects.filter(session_key=key, expire_date__gt=now)


def _user(*, person: Value) -> QuerySet[User]:
    return User.objects.filter(pk=person)


_SESSION = CompiledQuery(_session, key=CharField(), now=DateTimeField())
_USER = CompiledQuery(_user, person=BigIntegerField())
