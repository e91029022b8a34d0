"""One's own account as a page: what it shows, changes, and shows once."""

import re

import pytest
from django.test import Client

from annotate.accounts import tokens
from annotate.models import ApiToken, User
from tests.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.portable]
PROFILE, TOKENS = "/profile", "/profile/tokens/create"


@pytest.fixture
def ann() -> User:
    return make_user("Ann")


@pytest.fixture
def hers(ann, signed_in) -> Client:
    return signed_in(ann)


class TestProfile:
    def change(self, client, **fields):
        return client.post(PROFILE, {"name": "Ann", "time_zone": "", **fields})

    def test_it_shows_who_one_is(self, hers, ann):
        text = hers.get(PROFILE).content.decode()
        assert ann.email in text
        assert 'value="Ann"' in text

    @pytest.mark.parametrize(
        ("typed", "kept"), [("Europe/Berlin", "Europe/Berlin"), ("", "UTC"), ("UTC", "Etc/UTC"), ("Etc/UTC", "Etc/UTC")]
    )
    def test_it_changes_the_time_zone(self, hers, ann, typed, kept):
        assert self.change(hers, time_zone=typed).headers["Location"] == PROFILE
        ann.refresh_from_db()
        assert ann.time_zone == kept
        shown = {"Etc/UTC": "UTC"}.get(typed, typed)
        field = re.search(r'<input type="text" name="time_zone"[^>]*>', hers.get(PROFILE).content.decode())[0]
        assert f'value="{shown}"' in field if shown else "value=" not in field

    @pytest.mark.parametrize(("field", "value"), [("name", ""), ("name", "a\tb"), ("time_zone", "Mars/Olympus")])
    def test_what_is_wrong_is_said_beside_the_field_and_nothing_is_lost(self, hers, ann, field, value):
        response = self.change(hers, **{"name": "Anna", "time_zone": "Asia/Tokyo", field: value})
        text = response.content.decode()
        assert response.status_code == 422
        assert f'id="id_{field}_error"' in text
        assert ("Asia/Tokyo" if field == "name" else "Anna") in text
        ann.refresh_from_db()
        assert (ann.name, ann.time_zone) == ("Ann", "UTC")

    def test_times_are_said_in_ones_own_zone(self, hers, ann):
        tokens.create(by=ann, name="x", scope="read")
        ApiToken.objects.update(last_used_at="2026-01-01T12:00:00Z")
        self.change(hers, time_zone="Asia/Tokyo")
        text = hers.get(PROFILE).content.decode()
        assert 'data-time-zone="Asia/Tokyo"' in text
        assert "9 p.m." in text
        assert "data-time-zone" not in Client().get("/sign-in").content.decode()


class TestSessions:
    def test_all_others_end_and_this_one_stays(self, hers, ann, signed_in):
        elsewhere = signed_in(ann)
        response = hers.post("/profile/sessions/end")
        assert "signed out in 1 other place" in hers.get(response.headers["Location"]).content.decode()
        assert elsewhere.get(PROFILE).status_code == 302

    def test_where_there_are_none_it_says_so(self, hers):
        assert (
            "signed in nowhere else"
            in hers.get(hers.post("/profile/sessions/end").headers["Location"]).content.decode()
        )


class TestTokens:
    def make(self, client, **fields):
        return client.post(TOKENS, {"name": "nightly", "scope": "read", "days": "30", **fields})

    def test_it_is_shown_once_and_works(self, hers, ann):
        response = self.make(hers)
        assert response.status_code == 201
        assert "no-store" in response.headers["Cache-Control"]
        secret = re.search(r'value="(gl_[^"]+)"', response.content.decode())[1]
        assert tokens.verify(secret).user == ann
        text = hers.get(PROFILE).content.decode()
        assert secret not in text
        assert f"{secret[:7]}…" in text

    @pytest.mark.parametrize(
        ("field", "value"), [("name", ""), ("name", "x" * 101), ("scope", "all"), ("days", "0"), ("days", "366")]
    )
    def test_what_is_wrong_is_said_beside_the_field(self, hers, field, value):
        response = self.make(hers, **{field: value})
        assert response.status_code == 422
        assert f'id="new_{field}_error"' in response.content.decode()
        assert not ApiToken.objects.exists()

    def test_too_many_are_too_many(self, hers, ann):
        for _ in range(tokens.MAX_LIVE):
            tokens.create(by=ann, name="x", scope="read")
        response = self.make(hers)
        assert response.status_code == 422
        assert b"You have 20 tokens" in response.content

    def test_it_is_revoked(self, hers, ann):
        made, secret = tokens.create(by=ann, name="nightly", scope="read")
        url = f"/profile/tokens/{made.public_id}/revoke"
        text = hers.get(hers.post(url).headers["Location"]).content.decode()
        assert "“nightly” is revoked" in text
        assert tokens.verify(secret) is None
        assert hers.post(url).status_code == 409

    @pytest.mark.parametrize("forged", ["0" * 20, "x", "'; --", "１２３"])
    def test_forged_ids_are_not_found(self, hers, forged):
        assert hers.post(f"/profile/tokens/{forged}/revoke").status_code == 404

    def test_other_peoples_are_not_found_and_not_shown(self, hers):
        made, secret = tokens.create(by=make_user("Ravi"), name="secret plan", scope="read")
        assert hers.post(f"/profile/tokens/{made.public_id}/revoke").status_code == 404
        assert b"secret plan" not in hers.get(PROFILE).content
        assert tokens.verify(secret)
