"""A session is found by its key while it lives, and who it belongs to while they may sign in."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from annotate.web.http.sessions import Backend, SessionStore
from tests.factories import make_user

pytestmark = pytest.mark.django_db


class TestSessionStore:
    def stored(self, **ends):
        store = SessionStore()
        store["word"] = "kept"
        store.save()
        if ends:
            Session.objects.filter(pk=store.session_key).update(expire_date=timezone.now() + timedelta(**ends))
        return SessionStore(store.session_key)

    def test_it_finds_what_was_kept(self):
        assert self.stored()["word"] == "kept"

    def test_it_asks_once(self, django_assert_num_queries):
        store = self.stored()
        with django_assert_num_queries(1):
            assert store.get("word"), store.get("other")

    @pytest.mark.parametrize("seconds", [-1, 0])
    def test_it_forgets_what_has_ended(self, seconds):
        store = self.stored(seconds=seconds)
        assert store.get("word") is None
        assert store.session_key is None

    def test_it_does_not_take_a_key_that_it_never_gave(self):
        store = SessionStore("k" * 32)
        assert store.get("word") is None
        assert store.session_key is None


class TestBackend:
    def test_it_finds_a_person(self):
        ann = make_user("Ann")
        assert Backend().get_user(ann.pk) == ann

    def test_it_knows_nobody_else(self):
        assert Backend().get_user(10**9) is None

    def test_it_does_not_find_somebody_who_may_not_sign_in(self):
        assert Backend().get_user(make_user("Ann", is_active=False).pk) is None
