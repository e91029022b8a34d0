"""Who is signed in, as Django keeps it, with the two queries of every request compiled once (models/prepared)."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models import BigIntegerField, CharField, DateTimeField, QuerySet, Value
from django.utils import timezone

from annotate.models import User
from annotate.models.compiled import CompiledQuery


class SessionStore(db.SessionStore):
    """Sessions in the database; SESSION_ENGINE looks for this name."""

    def _get_session_from_db(self) -> Session | None:
        found = _SESSION.objects(key=self.session_key, now=timezone.now())
        if not found:
            self._session_key = None
        return found[0] if found else None


class Backend(ModelBackend):
    """E-mail and password; only reading who signed in before is another query."""

    def get_user(self, user_id: Any) -> User | None:
        found: list[User] = _USER.objects(person=user_id)
        return found[0] if found and self.user_can_authenticate(found[0]) else None


def _session(*, key: Value, now: Value) -> QuerySet[Session]:
    return Session.objects.filter(session_key=key, expire_date__gt=now)


def _user(*, person: Value) -> QuerySet[User]:
    return User.objects.filter(pk=person)


_SESSION = CompiledQuery(_session, key=CharField(), now=DateTimeField())
_USER = CompiledQuery(_user, person=BigIntegerField())
