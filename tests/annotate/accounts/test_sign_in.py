"""Passwords and how often they may be guessed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.utils import timezone

from annotate.accounts import sign_in
from annotate.accounts.sign_in import PER_ADDRESS, PER_CLIENT, WINDOW, TooManyAttempts, WrongPassword
from annotate.errors import InvalidInput
from annotate.models import Event, SignInFailure
from tests.factories import make_user

PASSWORD = "a horse on the roof"


@pytest.fixture(autouse=True)
def passwords_hash_fast(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def guess(email: str, n: int = 1, client: str = "10.0.0.1", **kwargs) -> None:
    for _ in range(n):
        with pytest.raises(WrongPassword):
            sign_in.verify(email=email, password="wrong", client=client, **kwargs)


@pytest.mark.django_db
class TestVerify:
    def test_the_right_password_tells_who_it_is(self):
        ann = make_user("Ann", password=PASSWORD)
        assert sign_in.verify(email=f"  {ann.email.upper()} ", password=PASSWORD, client="x") == ann
        assert not SignInFailure.objects.exists()

    @pytest.mark.parametrize("fields", [{"is_active": False}, {"is_simulated": True}])
    def test_some_may_not_sign_in(self, fields):
        ann = make_user("Ann", password=PASSWORD, **fields)
        with pytest.raises(WrongPassword):
            sign_in.verify(email=ann.email, password=PASSWORD, client="x")

    def test_who_has_no_password_may_not_sign_in(self):
        guess(make_user("Ann").email)

    def test_an_unknown_address_costs_as_much_hashing(self, monkeypatch):
        from django.contrib.auth.hashers import MD5PasswordHasher

        hashed = []
        encode = MD5PasswordHasher.encode
        monkeypatch.setattr(MD5PasswordHasher, "encode", lambda *a: hashed.append(1) or encode(*a))
        ann = make_user("Ann", password=PASSWORD)
        costs = []
        for email in (ann.email, "nobody@example.org", make_user("Sim").email):
            hashed.clear()
            guess(email)
            costs.append(len(hashed))
        assert costs == [1, 1, 1]

    def test_after_enough_failures_the_right_password_is_refused(self):
        ann = make_user("Ann", password=PASSWORD)
        guess(ann.email, PER_ADDRESS)
        with pytest.raises(TooManyAttempts, match="15 minutes"):
            sign_in.verify(email=ann.email, password=PASSWORD, client="elsewhere")

    def test_an_unknown_address_is_locked_alike(self):
        guess("nobody@example.org", PER_ADDRESS)
        with pytest.raises(TooManyAttempts):
            sign_in.verify(email="nobody@example.org", password="x", client="elsewhere")

    def test_one_place_may_not_try_many_people(self):
        for i in range(PER_CLIENT):
            guess(f"person{i}@example.org", client="10.0.0.9")
        ann = make_user("Ann", password=PASSWORD)
        with pytest.raises(TooManyAttempts):
            sign_in.verify(email=ann.email, password=PASSWORD, client="10.0.0.9")
        assert sign_in.verify(email=ann.email, password=PASSWORD, client="10.0.0.8") == ann

    def test_success_clears_the_address_and_not_the_place(self):
        ann = make_user("Ann", password=PASSWORD)
        guess(ann.email, PER_ADDRESS - 1)
        sign_in.verify(email=ann.email, password=PASSWORD, client="10.0.0.1")
        assert SignInFailure.objects.count() == PER_ADDRESS - 1  # those of the place
        guess(ann.email, PER_ADDRESS)

    def test_the_lock_ends_although_somebody_keeps_trying(self):
        ann, now = make_user("Ann", password=PASSWORD), timezone.now()
        guess(ann.email, PER_ADDRESS, now=now)
        for minute in range(1, 15):
            with pytest.raises(TooManyAttempts) as refused:
                sign_in.verify(email=ann.email, password=PASSWORD, client="x", now=now + timedelta(minutes=minute))
            assert refused.value.seconds == (15 - minute) * 60
        assert sign_in.verify(email=ann.email, password=PASSWORD, client="x", now=now + WINDOW) == ann

    def test_old_rows_go(self):
        now = timezone.now()
        guess("nobody@example.org", 3, now=now - WINDOW - timedelta(seconds=1))
        guess("somebody@example.org", now=now)
        assert SignInFailure.objects.count() == 2

    def test_neither_address_nor_place_is_kept(self):
        guess("nobody@example.org")
        assert all(len(row.key) == 64 for row in SignInFailure.objects.all())

    def test_a_crash_is_no_failure(self, monkeypatch):
        def broken(**_):
            raise RuntimeError

        monkeypatch.setattr(sign_in, "authenticate", broken)
        with pytest.raises(RuntimeError):
            sign_in.verify(email="a@example.org", password="x", client="x")
        assert not SignInFailure.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
def test_guessing_all_at_once_gains_nothing(monkeypatch):
    """Forty at the same moment: no more than the limit ever see the password looked at."""
    looked = []
    monkeypatch.setattr(sign_in, "authenticate", lambda **_: looked.append(1))

    def one(_: int) -> None:
        try:
            sign_in.verify(email="ann@example.org", password="x", client="x")
        except (WrongPassword, TooManyAttempts):
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(40)))
    assert 0 < len(looked) <= PER_ADDRESS


@pytest.mark.django_db
class TestSessions:
    def test_all_but_this_one_end(self):
        ann, ravi = make_user("Ann"), make_user("Ravi")
        here, there, his = (make_session(user) for user in (ann, ann, ravi))
        assert sign_in.sign_out_elsewhere(by=ann, session=here) == 1
        assert set(Session.objects.values_list("session_key", flat=True)) == {here, his}
        assert Event.objects.get(kind="sessions.ended").data == {"n_sessions": 1}
        assert sign_in.end_sessions(user=ann) == 1
        assert there != here

    def test_of_a_session_that_cannot_be_read_nothing_is_known(self):
        Session.objects.create(session_key="x" * 32, session_data="no", expire_date=timezone.now() + timedelta(days=1))
        assert sign_in.end_sessions(user=make_user()) == 0


@pytest.mark.django_db
class TestChangeProfile:
    def test_it_is_changed_and_recorded(self):
        ann = make_user("Ann")
        sign_in.change_profile(by=ann, name=" Anna ", time_zone="Europe/Berlin")
        ann.refresh_from_db()
        assert (ann.name, ann.time_zone) == ("Anna", "Europe/Berlin")
        assert Event.objects.get(kind="profile.changed").actor == ann

    @pytest.mark.parametrize(
        "fields", [{"name": " "}, {"name": "x" * 151}, {"name": "a\x00"}, {"time_zone": "Mars"}, {"time_zone": "../x"}]
    )
    def test_what_cannot_be_is_refused(self, fields):
        with pytest.raises(InvalidInput):
            sign_in.change_profile(by=make_user(), **{"name": "Ann", "time_zone": "UTC", **fields})


def make_session(user) -> str:
    client = Client()
    client.force_login(user)
    return client.session.session_key
