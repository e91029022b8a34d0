"""What every endpoint shares: tokens, scopes, strict bodies, and failures as problems."""

import pytest
from django.test import Client

from annotate.accounts import tokens
from annotate.models import GuidelineVersion
from tests.api.conftest import Program
from tests.factories import make_member, make_user, owner_of

pytestmark = pytest.mark.django_db


def is_problem(response, status: int) -> bool:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "detail", "instance"} <= body.keys() <= {
        "type", "title", "status", "detail", "instance", "errors",
    }  # fmt: skip
    assert body["status"] == status
    assert body["type"].startswith("urn:goldloop:problem:")
    assert "Traceback" not in str(body)
    return True


class TestTokens:
    def test_without_one_nothing_is_answered(self, asking):
        response = asking(None).get("/api/v1/projects")
        assert is_problem(response, 401)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        "header", ["Bearer", "Bearer x", "Basic eDp5", "Token gl_x", "Bearer gl_\u00e4", "bearer  "]
    )
    def test_with_something_else_neither(self, asking, header):
        assert is_problem(asking(None).get("/api/v1/me", Authorization=header), 401)

    def test_a_session_is_not_looked_at(self, project):
        client = Client()
        client.force_login(owner_of(project))
        assert is_problem(client.get("/api/v1/projects"), 401)
        assert is_problem(client.post(f"/api/v1/projects/{project.slug}/guidelines", {"markdown": "x"}), 401)

    def test_a_revoked_one_ends_at_once(self, olga):
        assert olga.get("/api/v1/me").status_code == 200
        tokens.revoke(by=olga.user, public_id=olga.token.public_id)
        assert is_problem(olga.get("/api/v1/me"), 401)

    def test_it_says_whom_it_speaks_for(self, olga):
        body = olga.get("/api/v1/me").json()
        assert (body["id"], body["email"], body["scope"]) == (olga.user.public_id, olga.user.email, "manage")
        assert "sha256" not in str(body)

    def test_needs_no_csrf_token_because_no_cookie_counts(self, project, olga):
        client = Client(enforce_csrf_checks=True)
        url = f"/api/v1/projects/{project.slug}/guidelines"
        made = client.post(url, {"markdown": "New."}, content_type="application/json", headers=olga.headers)
        assert made.status_code == 201


class TestScopes:
    @pytest.mark.parametrize(
        ("scope", "read", "annotate", "manage"),
        [("read", 200, 403, 403), ("annotate", 200, 200, 403), ("manage", 200, 200, 201)],
    )
    def test_each_holds_those_before_it(self, project, asking, scope, read, annotate, manage):
        program = asking(owner_of(project), scope)
        assert program.get("").status_code == read
        assert program.post("label/next").status_code == annotate
        assert program.post("guidelines", {"markdown": "New."}).status_code == manage

    def test_the_role_counts_beside_it(self, ann, project, asking):
        program = asking(ann.user, "manage")
        assert is_problem(program.post("guidelines", {"markdown": "New."}), 403)
        assert not GuidelineVersion.objects.exists()


class TestRequests:
    def test_unknown_fields_are_refused(self, olga):
        response = olga.post("guidelines", {"markdown": "New.", "version": 7, "created_by": 1})
        assert is_problem(response, 422)
        assert response.json()["errors"].keys() == {"version", "created_by"}
        assert not GuidelineVersion.objects.exists()

    def test_unknown_queries_are_refused(self, olga):
        for query in ("user__password__startswith=x", "_connector=OR", "limit=5&ordering=-id"):
            assert is_problem(olga.get(f"runs?{query}"), 422)

    @pytest.mark.parametrize(
        "body",
        [
            b"{", b"", b'{"markdown": NaN}', b'{"markdown": "\\ud800"}', b'{"markdown": "a\\u0000b"}', b"\xff\xfe{}",
            b"[" * 100_000, b'{"markdown": "\xe4"}', b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        ],
    )  # fmt: skip
    def test_what_is_no_json_is_refused(self, olga, body):
        response = olga.post("guidelines", body)
        assert response.status_code in (400, 422)
        assert is_problem(response, response.status_code)

    @pytest.mark.parametrize("depth", [260, 1_000])
    def test_what_is_nested_too_deeply_is_refused(self, olga, depth):
        """Such a body can be read, but neither be compared with a repetition of it nor be given back."""
        body = b'{"kind": "train", "parameters": {"method": ' + b"[" * depth + b"]" * depth + b"}}"
        assert is_problem(olga.post("runs", body), 400)
        assert is_problem(olga.post("runs", body, Idempotency_Key="a"), 400)

    @pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"null", b"1" * 5_000])
    def test_what_is_no_object_is_refused(self, olga, body):
        response = olga.post("guidelines", body)
        assert is_problem(response, response.status_code)
        assert response.status_code in (400, 422)

    @pytest.mark.parametrize("batch", [0, -1, 10**6, 2**63, 10**30, 1.5, "5", True, None, [5], {"n": 5}])
    def test_numbers_are_exact_and_bounded(self, olga, batch):
        assert is_problem(olga.post("runs", {"kind": "draw", "parameters": {"batch": batch}}), 422)

    def test_other_types_of_body_are_refused(self, olga):
        assert is_problem(olga.post("guidelines", b"markdown=x", content_type="application/x-www-form-urlencoded"), 415)
        assert is_problem(olga.post("guidelines", b"x", content_type="text/plain"), 415)

    def test_too_much_is_refused_unread(self, olga):
        assert is_problem(olga.post("guidelines", {"markdown": "x" * 1_100_000}), 413)

    def test_only_json_is_answered(self, olga):
        response = olga.get("", Accept="text/html")
        assert is_problem(response, 406)

    def test_a_wrong_method_is_told_what_there_is(self, olga):
        response = olga.put("guidelines", {"markdown": "x"})
        assert is_problem(response, 405)
        assert "POST" in response.headers["Allow"]
        assert is_problem(olga.ask("OPTIONS", "guidelines"), 405)

    def test_an_address_that_leads_nowhere_is_a_problem_too(self, olga):
        assert is_problem(olga.get("/api/v1/nothing"), 404)
        assert is_problem(olga.get("/api/v2/"), 404)

    def test_a_failure_nobody_expected_says_nothing_of_us(self, olga, monkeypatch):
        from annotate.api import me

        monkeypatch.setattr(me.Me, "answer", lambda *args: 1 / 0)
        olga.client.raise_request_exception = False
        response = olga.get("/api/v1/me")
        assert is_problem(response, 500)
        assert "division" not in response.content.decode()

    def test_nothing_is_kept_by_browsers(self, olga):
        assert "no-store" in olga.get("").headers["Cache-Control"]


class TestOthersThings:
    def test_a_strangers_project_is_not_found(self, project, asking):
        sam = asking(make_user("Sam"))
        real, made_up = sam.get(""), sam.get("/api/v1/projects/never-made")
        assert is_problem(real, 404)
        assert real.content.replace(project.slug.encode(), b"never-made") == made_up.content

    def test_who_is_deactivated_is_out(self, ann):
        ann.user.is_active = False
        ann.user.save()
        assert is_problem(ann.get(""), 401)

    def test_lists_hold_only_what_is_mine(self, project, asking):
        other = make_member(project, "Ben")
        assert [one["slug"] for one in Program(other).get("projects").json()["results"]] == [project.slug]
        assert Program(make_user("Sam")).get("projects").json() == {"results": [], "next": None}
