"""Tokens for programs: the secret is kept by nobody, and ends with its day, its person, or a word."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from annotate.accounts import tokens
from annotate.errors import AccessDenied, Conflict, GoldloopError, InvalidInput, NotFound
from annotate.models import ApiToken, Event, User
from tests.factories import make_user


def create(by, **fields):
    return tokens.create(by=by, **{"name": "nightly import", "scope": "read", **fields})


@pytest.mark.django_db
class TestCreate:
    def test_only_the_digest_and_a_hint_are_stored(self):
        token, secret = create(make_user())
        assert secret.startswith("gl_")
        assert len(secret) >= 46  # 256 bits
        assert secret.startswith(token.hint)
        assert len(token.hint) == 7
        assert secret not in str(ApiToken.objects.values().get())
        assert secret not in str(list(Event.objects.values()))

    def test_it_is_valid_for_90_days(self):
        now = timezone.now()
        assert create(make_user(), now=now)[0].expires_at == now + timedelta(days=90)

    @pytest.mark.parametrize(
        "fields",
        [{"days": 0}, {"days": 366}, {"scope": "everything"}, {"name": " "}, {"name": "x" * 101}, {"name": "a\x00"}],
    )
    def test_what_is_missing_or_too_much_is_refused(self, fields):
        with pytest.raises(InvalidInput):
            create(make_user(), **fields)

    @pytest.mark.parametrize("fields", [{"is_active": False}, {"is_simulated": True}])
    def test_who_cannot_sign_in_has_none(self, fields):
        with pytest.raises(AccessDenied):
            create(make_user(**fields))

    def test_nobody_has_more_than_20_that_work(self):
        ann = make_user()
        made = [create(ann)[0] for _ in range(20)]
        with pytest.raises(Conflict, match="20 tokens"):
            create(ann)
        tokens.revoke(by=ann, public_id=made[0].public_id)
        create(ann)

    def test_it_is_on_record_without_its_name(self):
        ann = make_user()
        token, _ = create(ann, name="secret plan")
        event = Event.objects.get(kind="token.created")
        assert (event.actor, event.data) == (ann, {"token": token.public_id, "scope": "read", "days": 90})


@pytest.mark.django_db
class TestVerify:
    def test_it_finds_the_person_and_the_scope(self):
        ann = make_user()
        _, secret = create(ann, scope="annotate")
        token = tokens.verify(secret)
        assert token and (token.user, token.scope) == (ann, "annotate")

    @pytest.mark.parametrize("secret", ["", "gl_", "gl_" + "A" * 43, "\udcff", "é" * 5000])
    def test_a_forged_one_is_nobody(self, secret):
        create(make_user())
        assert tokens.verify(secret) is None

    def test_the_digest_itself_is_no_secret(self):
        token, _ = create(make_user())
        assert tokens.verify(token.token_sha256) is None

    def test_it_ends_with_its_last_day(self):
        now = timezone.now()
        _, secret = create(make_user(), days=1, now=now)
        assert tokens.verify(secret, now=now + timedelta(hours=23))
        assert tokens.verify(secret, now=now + timedelta(days=1)) is None

    def test_it_ends_with_its_person(self):
        ann = make_user()
        _, secret = create(ann)
        User.objects.filter(pk=ann.pk).update(is_active=False)
        assert tokens.verify(secret) is None

    def test_it_ends_when_revoked(self):
        ann = make_user()
        token, secret = create(ann)
        tokens.revoke(by=ann, public_id=token.public_id)
        assert tokens.verify(secret) is None

    def test_its_use_is_written_down_once_a_minute(self, django_assert_num_queries):
        now = timezone.now()
        token, secret = create(make_user(), now=now)
        tokens.verify(secret, now=now)
        with django_assert_num_queries(1):
            tokens.verify(secret, now=now + timedelta(seconds=59))
        token.refresh_from_db()
        assert token.last_used_at == now
        tokens.verify(secret, now=now + timedelta(seconds=60))
        token.refresh_from_db()
        assert token.last_used_at == now + timedelta(seconds=60)


@pytest.mark.django_db
class TestRevoke:
    def test_other_peoples_are_not_found(self):
        token, secret = create(make_user())
        with pytest.raises(NotFound):
            tokens.revoke(by=make_user(), public_id=token.public_id)
        assert tokens.verify(secret)

    def test_once_is_enough(self):
        ann = make_user()
        token, _ = create(ann)
        tokens.revoke(by=ann, public_id=token.public_id)
        with pytest.raises(Conflict):
            tokens.revoke(by=ann, public_id=token.public_id)
        assert Event.objects.filter(kind="token.revoked").count() == 1

    def test_all_at_once_are_ones_own(self):
        ann, ravi = make_user(), make_user()
        secrets = [create(ann)[1], create(ann)[1], create(ravi)[1]]
        assert tokens.revoke_all(user=ann) == 2
        assert [bool(tokens.verify(secret)) for secret in secrets] == [False, False, True]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
def test_who_asks_many_times_at_once_gets_20():
    ann = make_user()

    def ask(_):
        try:
            create(ann)
        except GoldloopError:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ask, range(30)))
    assert ApiToken.objects.count() == 20


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
def test_of_many_who_revoke_at_once_one_does():
    ann = make_user()
    token, _ = create(ann)

    def end(_):
        try:
            tokens.revoke(by=ann, public_id=token.public_id)
        except Conflict:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(end, range(6)))
    assert Event.objects.filter(kind="token.revoked").count() == 1
