"""Accounts, proofs and owners through the API."""

import json

import pytest

from annotate.accounts import passwords
from annotate.models import Event, Invitation, PasswordReset, User
from annotate.models.project import Role
from tests.factories import make_member, make_user, owner_of
from tests.mails import path_in


@pytest.fixture
def root(project, asking):
    return asking(make_user("Root", is_site_owner=True))


def read(response, status=200):
    assert response.status_code == status, response.content
    return json.loads(response.content)


class TestProof:
    def test_people_and_their_answers_say_what_proves_them(self, project, olga, root):
        ann = make_member(project)
        proofs = {row["id"]: row["proof"] for row in read(olga.get("members"))["results"]}
        assert proofs[ann.public_id] == "unproven"
        assert read(root.ask("PUT", f"/api/v1/accounts/{ann.public_id}/vouch"))["proof"] == "vouched"
        proofs = {row["id"]: row["proof"] for row in read(olga.get("members"))["results"]}
        assert proofs[ann.public_id] == "vouched"
        assert read(root.ask("DELETE", f"/api/v1/accounts/{ann.public_id}/vouch"))["vouched_at"] is None
        assert read(olga.get("/api/v1/me"))["proof"] == "unproven"

    def test_a_link_is_mailed_once_for_a_key(self, has_mail, olga):
        with has_mail() as box:
            first = read(olga.post("/api/v1/me/address", Idempotency_Key="one"), 201)
            again = read(olga.post("/api/v1/me/address", Idempotency_Key="one"), 201)
        assert (first, len(box)) == (again, 1)
        assert first["email"] == olga.user.email and path_in(box[0].body).startswith("/prove-address/")

    def test_without_a_mail_server_it_is_refused(self, olga):
        assert read(olga.post("/api/v1/me/address"), 409)["detail"].startswith("This site sends no mail.")


class TestInvitations:
    def test_where_mail_is_set_the_link_is_not_shown(self, has_mail, olga):
        with has_mail() as box:
            made = read(olga.post("invitations", {"role": "viewer", "email": "nell@example.org"}), 201)
        assert (made["link"], made["mail"], box[0].to) == (None, "waiting", ["nell@example.org"])
        assert read(olga.get("invitations"))["results"][0]["mail"] == "sent"
        with has_mail() as box:
            assert read(olga.post(f"invitations/{made['id']}/send"))["mail"] == "waiting"
        shown = read(olga.post(f"invitations/{made['id']}/link"), 201)
        assert (shown["mail"], "/invitation/" in shown["link"]) == ("none", True)
        assert read(olga.post("invitations", {"role": "viewer", "email": "ned@example.org", "by_hand": True}), 201)[
            "link"
        ]

    def test_used_and_unaddressed_ones_are_not_sent(self, has_mail, olga):
        made = read(olga.post("invitations", {"role": "viewer"}), 201)
        assert olga.post(f"invitations/{made['id']}/send").status_code == 409
        olga.delete(f"invitations/{made['id']}")
        assert olga.post(f"invitations/{made['id']}/link").status_code == 409
        assert olga.post(f"invitations/{'0' * 20}/link").status_code == 404
        assert Invitation.objects.get().mail_state == "none"

    def test_what_was_not_sent_says_why(self, has_mail, olga, settings):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
        with has_mail():
            olga.post("invitations", {"role": "viewer", "email": "nell@example.org"})
        [row] = read(olga.get("invitations"))["results"]
        assert (row["mail"], row["mail_problem"][:27]) == ("failed", "The mail server was not rea")


class TestAccounts:
    def test_deactivating_says_before_what_it_does(self, project, olga, root):
        ann = make_member(project)
        address = f"accounts/{ann.public_id}"
        before = read(root.ask("GET", f"/api/v1/{address}"))["deactivating"]
        assert (before["owned"], before["obstacle"]) == ([], "")
        assert read(root.ask("PUT", f"/api/v1/{address}/active", {"is_active": False}))["is_active"] is False
        assert root.ask("PUT", f"/api/v1/{address}/active", {"is_active": False}).status_code == 409
        assert read(root.ask("GET", f"/api/v1/{address}"))["deactivating"] is None
        assert read(root.ask("PUT", f"/api/v1/{address}/active", {"is_active": True}))["is_active"] is True

    def test_what_it_owns_needs_an_heir(self, project, olga, root):
        ann, address = make_member(project), f"accounts/{olga.user.public_id}/active"
        assert project.slug in read(root.ask("PUT", f"/api/v1/{address}", {"is_active": False}), 409)["detail"]
        heirs = {project.slug: ann.public_id}
        read(root.ask("PUT", f"/api/v1/{address}", {"is_active": False, "heirs": heirs}))
        assert owner_of(project) == ann
        assert olga.get("/api/v1/me").status_code == 401

    def test_a_project_without_an_owner_gets_one(self, project, olga, root):
        ann, address = make_member(project), f"accounts/{olga.user.public_id}/projects/{project.slug}/owner"
        body = {"person": ann.public_id}
        assert root.ask("PUT", f"/api/v1/{address}", body).status_code == 409
        User.objects.filter(pk=olga.user.pk).update(is_active=False)
        assert read(root.ask("PUT", f"/api/v1/{address}", body))["owner"] == ann.public_id

    def test_the_owner_hands_over(self, project, olga, asking):
        ann = make_member(project)
        admin = asking(make_member(project, "Ada", Role.ADMIN))
        assert admin.put("owner", {"person": ann.public_id}).status_code == 403
        done = read(olga.put("owner", {"person": ann.public_id, "stays": False}))
        assert done == {"owner": ann.public_id, "before": olga.user.public_id, "has_left": True}
        assert olga.put("owner", {"person": ann.public_id}).status_code == 404
        assert Event.objects.filter(kind="project.handed_over").count() == 1

    def test_what_was_not_sent_is_listed_and_sent_again(self, has_mail, root, settings):
        ann = make_user("Ann")
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
        with has_mail():
            passwords.ask(email=ann.email, client="x")
        [row] = read(root.ask("GET", "/api/v1/accounts/mails"))["results"]
        assert (row["email"], row["id"]) == (ann.email, PasswordReset.objects.get().public_id)
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        with has_mail() as box:
            assert root.ask("POST", f"/api/v1/accounts/mails/{row['id']}/send").status_code == 204
        assert box[-1].to == [ann.email]
