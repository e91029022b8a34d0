"""Pages behind mailed links and on the profile; asking for a password; mail through a server that really listens."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate.accounts import background, sign_in
from annotate.models import AddressLink, Event, Invitation, PasswordReset, Proof, User
from tests.factories import make_project, make_user, owner_of
from tests.mails import MailServer, path_in, serving

PASSWORD = "a horse on the roof"
FORGOTTEN = "/forgotten-password"


@pytest.fixture
def ann(db) -> User:
    return make_user("Ann", password=PASSWORD)


def proof(user: User) -> Proof:
    return User.objects.get(pk=user.pk).proof


class TestProve:
    def test_from_the_button_to_the_proof(self, has_mail, signed_in, ann):
        client = signed_in(ann)
        assert b"address not proven" in client.get("/profile").content
        with has_mail() as box:
            assert client.post("/profile/address/send").headers["Location"] == "/profile"
        assert b"A link was sent to" in client.get("/profile").content
        path = path_in(box[-1].body)
        for _ in range(2):  # looking does not use it up
            page = client.get(path)
        assert page.headers["Referrer-Policy"] == "strict-origin" and "no-store" in page.headers["Cache-Control"]
        assert proof(ann) == Proof.UNPROVEN
        assert client.post(path).headers["Location"] == "/profile"
        text = client.get("/profile").content.decode()
        assert "address proven" in text and "not proven" not in text
        assert client.post(path).status_code == client.get(path).status_code == 404

    def test_who_is_not_signed_in_signs_in_first(self, has_mail, signed_in, ann):
        with has_mail() as box:
            signed_in(ann).post("/profile/address/send")
        path = path_in(box[-1].body)
        assert Client().get(path).headers["Location"] == f"/sign-in?next={path}"
        assert signed_in(make_user()).post(path).status_code == 409
        assert proof(ann) == Proof.UNPROVEN

    def test_forging_is_throttled(self, signed_in, ann):
        client = signed_in(ann)
        for number in range(sign_in.PER_CLIENT):
            assert client.post(f"/prove-address/forged-{number}").status_code == 404
        assert client.post("/prove-address/forged").status_code == 429

    def test_without_a_mail_server_there_is_no_button(self, signed_in, ann):
        client = signed_in(ann)
        text = client.get("/profile").content.decode()
        assert "who runs it can vouch for you" in text and "/profile/address" not in text
        assert client.post("/profile/address/send").status_code == 409

    def test_what_was_not_sent_is_said_with_a_button(self, has_mail, signed_in, ann, settings):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
        client = signed_in(ann)
        with has_mail():
            assert client.post("/profile/address/send").status_code == 303
        text = client.get("/profile").content.decode()
        assert "was not sent. The mail server was not reached" in text and "Send the link again" in text


class TestChange:
    def test_the_page_says_what_changes(self, has_mail, signed_in, ann):
        client = signed_in(ann)
        with has_mail() as box:
            client.post("/profile/address/change", {"email": "new@example.org", "password": PASSWORD})
        path = path_in(box[-1].body)
        text = client.get(path).content.decode()
        assert "new@example.org" in text and ann.email in text
        client.post(path)
        assert User.objects.get(pk=ann.pk).email == "new@example.org"

    @pytest.mark.parametrize(
        ("fields", "field"), [({"password": "wrong"}, "password"), ({"email": "x"}, "email"), ({"email": ""}, "email")]
    )
    def test_what_is_wrong_is_said_beside_the_field(self, has_mail, signed_in, ann, fields, field):
        form = {"email": "new@example.org", "password": PASSWORD, **fields}
        response = signed_in(ann).post("/profile/address/change", form)
        assert response.status_code == 422
        assert f'id="address_{field}_error"'.encode() in response.content
        assert not AddressLink.objects.exists()


class TestForgotten:
    def test_from_the_sign_in_page_to_a_new_password(self, has_mail, client, ann):
        assert FORGOTTEN.encode() in client.get("/sign-in").content
        with has_mail() as box:
            assert client.post(FORGOTTEN, {"email": ann.email.upper()}).status_code == 200
        path = path_in(box[-1].body)
        assert ann.email.encode() in client.get(path).content
        client.post(path, {"new": "another good one", "again": "another good one"})
        assert (proof(ann), User.objects.get(pk=ann.pk).check_password("another good one")) == (Proof.MAILED, True)
        assert client.post(path, {"new": "another good one", "again": "another good one"}).status_code == 404

    def test_nobody_learns_who_has_an_account(self, settings, has_mail, client, ann):
        """Equal bodies, and the same work before the answer: what depends on the account comes after it."""

        def asked(email: str) -> tuple[int, str, int]:
            with CaptureQueriesContext(connection) as queries:
                response = client.post(FORGOTTEN, {"email": email})
            return response.status_code, re.sub(r'value="\w{64}"', "", response.content.decode()), len(queries)

        first = asked(ann.email)
        assert first == asked("nobody@example.org")
        assert not PasswordReset.objects.exists()  # nothing is committed here, so the second part did not begin
        for email in (ann.email, "nobody@example.org"):
            for _ in range(sign_in.MAILS_PER_ADDRESS - 1):
                assert client.post(FORGOTTEN, {"email": email}).status_code == 200
            response = client.post(FORGOTTEN, {"email": email})
            assert (response.status_code, int(response.headers["Retry-After"]) > 0) == (429, True)

    def test_a_client_asks_for_so_many(self, has_mail, client, db):
        for number in range(sign_in.MAILS_PER_CLIENT):
            assert client.post(FORGOTTEN, {"email": f"p{number}@example.org"}).status_code == 200
        assert client.post(FORGOTTEN, {"email": "p@example.org"}).status_code == 429

    def test_without_a_mail_server_the_page_says_whom_to_ask(self, client, ann):
        assert FORGOTTEN.encode() not in client.get("/sign-in").content
        assert b"can make you a link" in client.get(FORGOTTEN).content
        assert client.post(FORGOTTEN, {"email": ann.email}).status_code == 409

    def test_a_claimed_host_is_in_no_mail(self, has_mail, client, ann, settings):
        settings.ALLOWED_HOSTS = ["*"]
        with has_mail() as box:
            client.post(FORGOTTEN, {"email": ann.email}, headers={"Host": "evil.example", "X-Forwarded-Host": "evil"})
        assert "evil" not in box[-1].body and path_in(box[-1].body).startswith("/new-password/")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
class TestInTheBackground:
    """With the threads and the connections that a site has."""

    def test_a_page_does_not_wait_for_the_mail_server(self, has_mail, signed_in, settings):
        project = make_project(name="Letters")
        settings.MAIL_IN_BACKGROUND = True
        client = signed_in(owner_of(project))
        invite = {"role": "viewer", "days": "7"}
        with serving(MailServer()) as server:
            server.settings(settings)
            url = reverse("people-invite", args=["letters"])
            assert client.post(url, invite | {"email": "nell@example.org"}).status_code == 303
            assert server.came.wait(30)  # it has a client, and says nothing: the page is here before
            assert Invitation.objects.get().mail_state == "waiting"
            assert b"about to be sent" in client.get(reverse("people-list", args=["letters"])).content
            server.goes_on.set()
            background.flush()
            assert Invitation.objects.get().mail_state == "sent"
            assert "/invitation/" in server.mails[0] and "nell@example.org" in server.mails[0]
            server.refuses = True
            client.post(url, invite | {"email": "ned@example.org"})
            background.flush()
        refused = Invitation.objects.get(email="ned@example.org")
        assert (refused.mail_state, refused.mail_problem) == ("failed", "The mail server refused the address.")
        assert "Not sent." in client.get(reverse("people-list", args=["letters"])).content.decode()
        assert Event.objects.filter(kind="invitation.created").count() == 2
