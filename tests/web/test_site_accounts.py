"""The pages of the site's accounts: who sees them, what they say before a step, and what the step does."""

import re

import pytest

from annotate.accounts import invitations, passwords
from annotate.models import Member, PasswordReset, Project, User
from annotate.models.project import Role
from tests.factories import make_member, make_project, make_user, owner_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> User:
    return make_user("Root", is_site_owner=True)


@pytest.fixture
def project() -> Project:
    return make_project(name="Letters")


def plain(response) -> str:
    return re.sub(r"\s+", " ", response.content.decode())


def url(person: User, act: str = "") -> str:
    return f"/accounts/{person.public_id}{act}"


class TestList:
    def test_people_are_found_with_what_proves_them(self, root, project, signed_in):
        ann = make_member(project, "Ann")
        make_user("Sim", is_simulated=True)
        client = signed_in(root)
        text = plain(client.get("/accounts"))
        assert ann.email in text and "address not proven" in text and "Sim" not in text
        assert ann.email not in plain(client.get("/accounts", {"q": "olga"}))
        assert "No account fits." in plain(client.get("/accounts", {"q": "?"}))

    def test_what_was_not_sent_is_sent_again(self, root, has_mail, signed_in, settings):
        ann, client = make_user("Ann"), signed_in(root)
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
        with has_mail():
            passwords.ask(email=ann.email, client="x")
        assert "The mail server was not reached" in plain(client.get("/accounts"))
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        link = PasswordReset.objects.get()
        with has_mail() as box:
            assert client.post(f"/accounts/mails/{link.public_id}/send").status_code == 303
        assert box[-1].to == [ann.email]
        assert "were not sent" not in plain(client.get("/accounts"))
        assert client.post(f"/accounts/mails/{link.public_id}/send").status_code == 404

    @pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
    def test_only_for_owners_of_the_site(self, project, signed_in, role):
        person = owner_of(project) if role == Role.OWNER else make_member(project, "Ada", role)
        client = signed_in(person)
        for path in ("/accounts", url(person)):
            assert client.get(path).status_code == 403
        for act in ("/vouch", "/deactivate", "/reactivate", "/projects/letters/hand-over"):
            assert client.post(url(person, act)).status_code == 403


class TestVouch:
    def test_it_shows_who_vouches_and_can_be_taken_back(self, root, project, signed_in):
        ann, client = make_member(project, "Ann"), signed_in(root)
        client.post(url(ann, "/vouch"), {"vouches": "yes"})
        assert "vouched for by Root" in plain(client.get(url(ann)))
        people = plain(signed_in(owner_of(project)).get("/p/letters/people"))
        assert re.search(r">vouched for</span> <span [^>]*>by Root<", people)
        client.post(url(ann, "/vouch"), {"vouches": "no"})
        assert "address not proven" in plain(client.get(url(ann)))

    def test_not_for_oneself(self, root, signed_in):
        client = signed_in(root)
        assert "I know this person" not in plain(client.get(url(root)))
        assert client.post(url(root, "/vouch")).status_code == 409


class TestDeactivate:
    def test_the_page_says_before_what_happens(self, root, project, signed_in):
        ada = make_member(project, "Ada", Role.ADMIN)
        hers, client = signed_in(ada), signed_in(root)
        invitations.invite(project=project, role=Role.VIEWER, by=ada)
        text = plain(client.get(url(ada)))
        assert "1 session ends." in text and "1 open invitation ends." in text and "They cannot sign in" in text
        response = client.post(url(ada, "/deactivate"))
        assert "Ada is deactivated." in plain(client.get(response.headers["Location"]))
        assert hers.get("/").status_code == 302
        assert client.post(url(ada, "/deactivate")).status_code == 409
        client.post(url(ada, "/reactivate"))
        assert User.objects.get(pk=ada.pk).is_active

    def test_projects_are_handed_over_in_the_same_step(self, root, project, signed_in):
        ada, owner, client = make_member(project, "Ada", Role.ADMIN), owner_of(project), signed_in(root)
        assert "1 project needs another owner at once" in plain(client.get(url(owner)))
        refused = client.post(url(owner, "/deactivate"))
        assert (refused.status_code, "needs another owner first: letters" in plain(refused)) == (409, True)
        wrong = client.post(url(owner, "/deactivate"), {"heir-letters": make_user().public_id})
        assert wrong.status_code == 422
        done = client.post(url(owner, "/deactivate"), {"heir-letters": ada.public_id})
        assert "Ada owns letters now." in plain(client.get(done.headers["Location"]))
        assert owner_of(project) == ada

    def test_oneself_and_the_last_owner_of_the_site_stay(self, root, signed_in):
        client = signed_in(root)
        assert "Nobody deactivates their own account" in plain(client.get(url(root)))
        assert client.post(url(root, "/deactivate")).status_code == 409

    def test_a_project_whose_owner_is_gone_gets_another(self, root, project, signed_in):
        ada, owner, client = make_member(project, "Ada", Role.ADMIN), owner_of(project), signed_in(root)
        act = url(owner, "/projects/letters/hand-over")
        assert client.post(act, {"heir-letters": ada.public_id}).status_code == 409
        User.objects.filter(pk=owner.pk).update(is_active=False)
        assert "Its owner cannot sign in." in plain(client.get(url(owner)))
        assert client.post(act, {"heir-letters": "x"}).status_code == 422
        assert client.post(act, {"heir-letters": ada.public_id}).status_code == 303
        assert owner_of(project) == ada
        assert client.post(act, {"heir-letters": ada.public_id}).status_code == 404

    def test_what_is_not_there_is_not_found(self, root, signed_in):
        client = signed_in(root)
        for path in (f"/accounts/{'0' * 20}", "/accounts/x", url(make_user("Sim", is_simulated=True))):
            assert client.get(path).status_code == 404
            assert client.post(f"{path}/deactivate").status_code == 404


class TestHandOver:
    def test_the_page_says_what_changes_and_does_it(self, project, signed_in):
        ann = make_member(project, "Ann", is_trusted=False)
        olga = signed_in(owner_of(project))
        path = f"/p/letters/people/{ann.public_id}/hand-over"
        assert path in plain(olga.get("/p/letters/people"))
        text = plain(olga.get(path))
        assert "Ann will own “Letters”." in text and "becomes trusted" in text and "address not proven" in text
        assert olga.post(path, {"stays": "?"}).status_code == 422
        assert olga.post(path, {"stays": "yes"}).headers["Location"] == "/p/letters/people"
        assert owner_of(project) == ann
        assert olga.post(path, {"stays": "yes"}).status_code == 403
        assert "hand-over" not in plain(olga.get("/p/letters/people"))

    def test_who_leaves_lands_at_home(self, project, signed_in):
        ann, owner = make_member(project), owner_of(project)
        response = signed_in(owner).post(f"/p/letters/people/{ann.public_id}/hand-over", {"stays": "no"})
        assert response.headers["Location"] == "/"
        assert not Member.objects.filter(user=owner).exists()


class TestWhoIsUnproven:
    """Wherever two people must agree."""

    def test_on_the_list_of_people_and_in_the_settings(self, project, signed_in):
        ann, olga = make_member(project), signed_in(owner_of(project))
        make_member(project, "Vera", Role.VIEWER)  # answers nothing
        sentence = "2 of 2 people who may answer have an address that nothing proves."
        for path in ("/p/letters/people", "/p/letters/settings/"):
            assert sentence in plain(olga.get(path))
        User.objects.filter(pk=ann.pk).update(proven_at=ann.created_at)
        assert "1 of 2 people" in plain(olga.get("/p/letters/settings/"))
        User.objects.update(vouched_at=ann.created_at)
        assert "nothing proves" not in plain(olga.get("/p/letters/people"))
