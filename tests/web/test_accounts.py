"""Sign-in, sign-out, password and invitation as pages."""

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from annotate.accounts import invitations, passwords, tokens
from annotate.accounts import sign_in as signing_in
from annotate.accounts.sign_in import PER_ADDRESS
from annotate.models import Invitation, Member, PasswordReset, SignInFailure, User
from annotate.models.project import Role
from tests.factories import make_member, make_project, make_user, owner_of

pytestmark = pytest.mark.django_db
PASSWORD = "a horse on the roof"
SIGN_IN, CHANGE = "/sign-in", "/password"


@pytest.fixture
def ann() -> User:
    return make_user("Ann", password=PASSWORD)


def sign_in(client: Client, email: str, password: str = PASSWORD, **fields: str):
    return client.post(SIGN_IN, {"email": email, "password": password, **fields})


class TestSignIn:
    def test_the_page_ties_labels_to_inputs(self, client):
        text = client.get(SIGN_IN).content.decode()
        assert '<label class="mb-1 block font-medium" for="id_email">' in text
        assert 'autocomplete="current-password"' in text

    def test_it_lets_in_and_makes_a_new_session(self, client, ann):
        client.get(SIGN_IN)
        client.session.save()
        before = client.session.session_key
        response = sign_in(client, ann.email)
        assert (response.status_code, response.headers["Location"]) == (303, "/")
        assert client.session.session_key != before
        assert client.get("/").status_code == 200

    def test_a_wrong_password_and_an_unknown_address_read_the_same(self, client, ann):
        def body(email: str) -> str:
            response = sign_in(client, email, "wrong")
            assert response.status_code == 422
            text = response.content.decode().replace(email, "EMAIL")
            head, tail = text.split('name="csrfmiddlewaretoken" value="', 1)
            return head + tail.split('name="next"')[-1]

        assert body(ann.email) == body("nobody@example.org")

    def test_the_password_is_not_sent_back(self, client, ann):
        assert b"secretly" not in sign_in(client, ann.email, "secretly wrong").content

    def test_after_too_many_it_says_when_to_try_again(self, client, ann):
        for _ in range(PER_ADDRESS):
            sign_in(client, ann.email, "wrong")
        response = sign_in(client, ann.email)
        assert response.status_code == 429
        assert b"Try again in 15 minutes." in response.content
        assert 0 < int(response.headers["Retry-After"]) <= 900

    @pytest.mark.parametrize("fields", [{}, {"email": "x"}, {"email": "a@example.org"}, {"email": "a\x00@b.org"}])
    def test_what_is_missing_is_said_beside_the_field(self, client, fields):
        response = client.post(SIGN_IN, fields)
        assert response.status_code == 422
        assert b'aria-describedby="id_' in response.content
        assert not SignInFailure.objects.exists()

    @pytest.mark.parametrize(
        ("wanted", "got"),
        [
            ("/p/x/label/", "/p/x/label/"),
            ("https://evil.example/", "/"),
            ("//evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("javascript:alert(1)", "/"),
            ("http://testserver/p/x/", "http://testserver/p/x/"),
        ],
    )
    def test_next_leads_nowhere_else(self, ann, wanted, got):
        assert sign_in(Client(), ann.email, next=wanted).headers["Location"] == got
        signed_in = Client()
        signed_in.force_login(ann)
        assert signed_in.get(SIGN_IN, {"next": wanted}).headers["Location"] == got

    def test_next_survives_a_mistake(self, client, ann):
        assert b'value="/p/x/"' in sign_in(client, ann.email, "wrong", next="/p/x/").content

    def test_behind_a_proxy_the_client_is_who_the_proxy_saw(self, client, ann, settings):
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        for number in range(signing_in.PER_CLIENT):
            client.post(
                SIGN_IN,
                {"email": f"p{number}@example.org", "password": "x"},
                headers={"X-Forwarded-For": f"1.2.3.{number}, 10.0.0.1"},  # the first part is the client's own claim
            )
        fields = {"email": ann.email, "password": PASSWORD}
        assert client.post(SIGN_IN, fields, headers={"X-Forwarded-For": "9.9.9.9, 10.0.0.1"}).status_code == 429
        assert client.post(SIGN_IN, fields, headers={"X-Forwarded-For": "10.0.0.1, 9.9.9.9"}).status_code == 303

    def test_without_a_proxy_nobody_chooses_where_they_come_from(self, client, ann):
        for number in range(signing_in.PER_CLIENT):
            fields = {"email": f"p{number}@example.org", "password": "x"}
            client.post(SIGN_IN, fields, headers={"X-Forwarded-For": f"1.2.3.{number}"})
        assert sign_in(client, ann.email).status_code == 429


class TestSignOut:
    def test_it_ends_the_session(self, signed_in, ann):
        client = signed_in(ann)
        assert client.post("/sign-out").headers["Location"] == SIGN_IN
        assert client.get("/").status_code == 302
        assert not Session.objects.exists()

    def test_a_link_does_not_sign_out(self, signed_in, ann):
        client = signed_in(ann)
        assert client.get("/sign-out").status_code == 405
        assert client.get("/").status_code == 200


class TestChangePassword:
    def change(self, client: Client, old: str = PASSWORD, new: str = "another good one", again: str = ""):
        return client.post(CHANGE, {"old": old, "new": new, "again": again or new})

    def test_other_sessions_end_and_this_one_stays(self, signed_in, ann):
        here, elsewhere = signed_in(ann), signed_in(ann)
        assert self.change(here).status_code == 303
        assert "signed out everywhere else" in here.get("/profile").content.decode()
        assert elsewhere.get("/").status_code == 302
        assert sign_in(Client(), ann.email).status_code == 422
        assert sign_in(Client(), ann.email, "another good one").status_code == 303

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"old": "wrong"}, "old"),
            ({"new": "short"}, "new"),
            ({"again": "different"}, "again"),
        ],
    )
    def test_what_is_wrong_is_said_beside_the_field(self, signed_in, ann, fields, field):
        response = self.change(signed_in(ann), **fields)
        assert response.status_code == 422
        assert f'id="id_{field}_error"' in response.content.decode()
        ann.refresh_from_db()
        assert ann.check_password(PASSWORD)

    def test_the_old_one_cannot_be_guessed_for_ever(self, signed_in, ann):
        client = signed_in(ann)
        for _ in range(PER_ADDRESS):
            self.change(client, old="wrong")
        assert self.change(client).status_code == 429

    def test_it_asks_about_tokens_where_there_are_any(self, signed_in, ann):
        client = signed_in(ann)
        assert b"End my tokens" not in client.get(CHANGE).content
        _, secret = tokens.create(by=ann, name="x", scope="read")
        assert b"End my tokens" in client.get(CHANGE).content
        form = {"old": PASSWORD, "new": "another good one", "again": "another good one", "ends_tokens": "on"}
        page = client.get(client.post(CHANGE, form).headers["Location"])
        assert b"1 token for programs ended." in page.content
        assert tokens.verify(secret) is None


class TestResetPassword:
    NEW = {"new": "another good one", "again": "another good one"}

    @pytest.fixture
    def url(self, ann) -> str:
        root = make_user("Root", is_site_owner=True)
        return reverse("password-reset", args=[passwords.make_link(user=ann, by=root)[1]])

    def test_looking_does_not_use_it_up(self, client, ann, url):
        for _ in range(3):
            text = client.get(url).content.decode()
            client.head(url)
        assert ann.email in text
        assert PasswordReset.objects.get().used_at is None

    def test_the_token_stays_here(self, client, url):
        response = client.get(url)
        assert response.headers["Referrer-Policy"] == "strict-origin"
        assert "no-store" in response.headers["Cache-Control"]

    def test_the_new_one_is_tried_at_once(self, client, signed_in, ann, url):
        elsewhere = signed_in(ann)
        response = client.post(url, self.NEW)
        assert response.headers["Location"] == SIGN_IN
        assert f"The new password for {ann.email} is set." in client.get(SIGN_IN).content.decode()
        assert elsewhere.get("/").status_code == 302
        assert sign_in(client, ann.email).status_code == 422
        assert sign_in(client, ann.email, "another good one").status_code == 303

    @pytest.mark.parametrize(
        ("fields", "field"),
        [({"new": "short", "again": "short"}, "new"), ({"again": "different"}, "again"), ({"new": ""}, "new")],
    )
    def test_what_is_wrong_is_said_beside_the_field(self, client, url, fields, field):
        response = client.post(url, self.NEW | fields)
        assert response.status_code == 422
        assert f'id="id_{field}_error"'.encode() in response.content
        assert PasswordReset.objects.get().used_at is None

    @pytest.mark.parametrize("kind", ["forged", "used", "expired"])
    def test_what_does_not_work_reads_the_same(self, client, ann, url, kind):
        if kind == "forged":
            url = reverse("password-reset", args=["A" * 43])
        elif kind == "used":
            Client().post(url, self.NEW)
        else:
            PasswordReset.objects.update(expires_at=ann.created_at)
        for response in (client.get(url), client.post(url, self.NEW), client.post(url, {})):
            assert response.status_code == 404
            assert b"This link does not work: it was used, replaced or has expired." in response.content
            assert ann.email.encode() not in response.content

    def test_forging_is_throttled(self, client, url):
        for number in range(signing_in.PER_CLIENT):
            assert client.post(f"/new-password/forged-{number}", self.NEW).status_code == 404
        assert client.post(url, self.NEW).status_code == 429


class TestAcceptInvitation:
    @pytest.fixture
    def project(self):
        return make_project(name="Letters")

    def invite(self, project, **fields) -> str:
        fields = {"role": Role.ANNOTATOR, **fields}
        _, token = invitations.invite(project=project, by=owner_of(project), **fields)
        return reverse("invitation-accept", args=[token])

    NEW = {"name": "Nell", "email": "nell@example.org", "password": PASSWORD}

    def test_looking_does_not_use_it_up(self, client, project):
        url = self.invite(project)
        for _ in range(3):
            text = client.get(url).content.decode()
            client.head(url)
        assert "Letters" in text
        assert "Annotator" in text
        assert str(owner_of(project)) in text
        assert Invitation.objects.get().used_at is None

    def test_a_name_of_several_lines_is_refused_at_its_field(self, client, project):
        response = client.post(self.invite(project), self.NEW | {"name": "Mal\r\n\r\nURGENT"})
        assert response.status_code == 422
        assert response.context["form"].errors == {"name": ["A name has 1 to 150 printable characters."]}

    def test_the_token_stays_here(self, client, project):
        response = client.get(self.invite(project))
        assert response.headers["Referrer-Policy"] == "strict-origin"
        assert "no-store" in response.headers["Cache-Control"]
        assert b"http://" not in response.content.replace(b"http://testserver", b"")

    def test_a_new_person_joins_and_is_signed_in(self, client, project):
        response = client.post(self.invite(project), self.NEW)
        assert response.headers["Location"] == reverse("labeling-work", args=["letters"])
        assert client.get(response.headers["Location"]).status_code == 200
        assert Member.objects.get(user__email="nell@example.org").role == Role.ANNOTATOR

    def test_an_address_that_is_named_is_the_only_one(self, client, project):
        url = self.invite(project, email="ned@example.org")
        assert b'value="ned@example.org"' in client.get(url).content
        client.post(url, self.NEW)
        assert User.objects.filter(email="ned@example.org").exists()
        assert not User.objects.filter(email="nell@example.org").exists()

    def test_who_has_an_account_signs_in_first_and_the_link_goes_on(self, client, ann, project):
        url = self.invite(project)
        taken = client.post(url, {**self.NEW, "email": ann.email})
        assert taken.status_code == 422
        assert b'id="id_email_error"' in taken.content
        assert f"/sign-in?next={url}".encode() in taken.content
        sign_in(client, ann.email, next=url)
        assert b"Join the project" in client.get(url).content
        assert client.post(url).status_code == 303
        assert Member.objects.filter(user=ann, project=project).exists()

    def test_asking_for_accounts_is_throttled(self, client, ann, project):
        url = self.invite(project)
        for _ in range(signing_in.PER_CLIENT):
            client.post(url, {**self.NEW, "email": ann.email})
        assert client.post(url, self.NEW).status_code == 429

    def test_forging_is_throttled(self, client, project):
        for number in range(signing_in.PER_CLIENT):
            assert client.post(f"/invitation/forged-{number}", self.NEW).status_code == 404
        assert client.post(self.invite(project), self.NEW).status_code == 429

    def test_for_somebody_else_it_says_so(self, signed_in, ann, project):
        client, url = signed_in(ann), self.invite(project, email="ned@example.org")
        assert b"you are signed in as" in client.get(url).content
        assert client.post(url).status_code == 409
        assert client.post("/sign-out", {"next": url}).headers["Location"] == url

    def test_who_belongs_already_is_told(self, signed_in, project):
        viewer = make_member(project, "Vera", Role.VIEWER)
        client, url = signed_in(viewer), self.invite(project)
        assert b"You belong to this project already" in client.get(url).content
        assert client.post(url).headers["Location"] == reverse("overview-show", args=["letters"])
        assert Invitation.objects.get().used_at is None

    @pytest.mark.parametrize("kind", ["forged", "used", "revoked"])
    def test_what_does_not_work_reads_the_same(self, client, project, kind):
        url = self.invite(project)
        if kind == "forged":
            url = reverse("invitation-accept", args=["A" * 43])
        elif kind == "used":
            Client().post(url, self.NEW)
        else:
            invitation = Invitation.objects.get()
            invitations.revoke(project=project, public_id=invitation.public_id, by=owner_of(project))
        for response in (client.get(url), client.post(url, self.NEW | {"email": "late@example.org"})):
            assert response.status_code == 404
            assert b"This invitation does not work: it was used, withdrawn or has expired." in response.content
            assert b"Letters" not in response.content

    @pytest.mark.parametrize(("field", "value"), [("password", "12345"), ("name", ""), ("email", "x")])
    def test_what_is_wrong_is_said_beside_the_field(self, client, project, field, value):
        response = client.post(self.invite(project), self.NEW | {field: value})
        assert response.status_code == 422
        assert f'id="id_{field}_error"'.encode() in response.content
        assert Invitation.objects.get().used_at is None
