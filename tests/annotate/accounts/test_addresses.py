"""What proves an address: a mailed link that was used, or somebody's word; and what takes the proof back."""

from datetime import timedelta

import pytest

from annotate.accounts import addresses, invitations, passwords
from annotate.accounts.addresses import NoMail
from annotate.accounts.sign_in import MAILS_PER_ADDRESS, WINDOW, TooManyMails, WrongPassword
from annotate.errors import AccessDenied, Conflict, InvalidInput, NotFound
from annotate.models import AddressLink, Event, Invitation, Proof, User
from annotate.models.base import database_now
from annotate.models.project import Role
from tests.factories import make_member, make_project, make_user, owner_of
from tests.mails import path_in

pytestmark = pytest.mark.django_db
OLD, NEW = "a horse on the roof", "another good one"


@pytest.fixture(autouse=True)
def passwords_hash_fast(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ann():
    return make_user("Ann", password=OLD)


def proof(user) -> Proof:
    return User.objects.get(pk=user.pk).proof


def token_in(box) -> str:
    return path_in(box[-1].body).rsplit("/", 1)[1]


def sent(has_mail, user) -> str:
    """The token of the link that was mailed to the user."""
    with has_mail() as box:
        addresses.send_link(by=user)
    return token_in(box)


class TestLink:
    def test_used_once_it_proves_the_address(self, has_mail, ann):
        token = sent(has_mail, ann)
        assert (proof(ann), ann.address_links.get().mail_state) == (Proof.UNPROVEN, "sent")
        assert addresses.use(token=token, by=ann, client="x").proof == Proof.MAILED
        with pytest.raises(NotFound):
            addresses.use(token=token, by=ann, client="x")
        assert Event.objects.get(kind="address.proven").data == {"how": "link"}
        with pytest.raises(Conflict, match="proven already"):
            addresses.send_link(by=ann)

    def test_only_the_account_that_it_was_made_for_uses_it(self, has_mail, ann):
        """Else whoever holds an account under somebody's address would need but a click of theirs."""
        token = sent(has_mail, ann)
        with pytest.raises(Conflict, match="another account"):
            addresses.use(token=token, by=make_user(), client="x")
        assert proof(ann) == Proof.UNPROVEN

    def test_it_ends_by_itself_and_with_a_later_one(self, has_mail, ann):
        first, second = sent(has_mail, ann), sent(has_mail, ann)
        with pytest.raises(NotFound):
            addresses.find(token=first, by=ann)
        with pytest.raises(NotFound):
            addresses.find(token=second, by=ann, now=database_now() + addresses.VALID + timedelta(seconds=1))
        assert addresses.find(token=second, by=ann)

    def test_only_its_hash_is_kept(self, has_mail, ann):
        token = sent(has_mail, ann)
        assert token not in str(list(AddressLink.objects.values())) + str(list(Event.objects.values()))

    def test_without_a_mail_server_there_is_none(self, ann):
        with pytest.raises(NoMail):
            addresses.send_link(by=ann)

    def test_nobody_fills_a_mailbox(self, has_mail, ann):
        for _ in range(MAILS_PER_ADDRESS):
            sent(has_mail, ann)
        with pytest.raises(TooManyMails, match="asked for"):
            sent(has_mail, ann)
        with has_mail():
            addresses.send_link(by=ann, now=database_now() + WINDOW + timedelta(seconds=1))


class TestFailure:
    @pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
    def test_a_mail_server_that_is_down_fails_nothing_but_the_mail(self, has_mail, ann, settings, host):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = host, 9
        with has_mail():
            link = addresses.send_link(by=ann)
        link.refresh_from_db()
        assert (link.mail_state, link.mail_problem[:27]) == ("failed", "The mail server was not rea")

    def test_nothing_is_sent_where_the_transaction_is_undone(self, has_mail, ann):
        project = make_project()
        with has_mail() as box, pytest.raises(Conflict):
            invitations.invite(project=project, role=Role.VIEWER, by=owner_of(project), email=owner_of(project).email)
        assert box == []


class TestChange:
    def ask(self, has_mail, ann, email="new@example.org"):
        with has_mail() as box:
            addresses.ask_for_change(by=ann, email=email, password=OLD, client="x")
        return box[-1]

    def test_the_new_one_replaces_the_old_when_its_link_is_used(self, has_mail, ann):
        addresses.use(token=sent(has_mail, ann), by=ann, client="x")
        letter, old = self.ask(has_mail, ann), ann.email
        assert (letter.to, proof(ann)) == (["new@example.org"], Proof.MAILED)
        assert User.objects.get(pk=ann.pk).email == old
        changed = addresses.use(token=path_in(letter.body).rsplit("/", 1)[1], by=ann, client="x")
        assert (changed.email, changed.proof) == ("new@example.org", Proof.MAILED)

    def test_links_to_the_old_address_end(self, has_mail, ann):
        with has_mail() as box:
            passwords.ask(email=ann.email, client="x")
        reset = token_in(box)
        addresses.use(token=path_in(self.ask(has_mail, ann).body).rsplit("/", 1)[1], by=ann, client="x")
        with pytest.raises(NotFound):
            passwords.find(token=reset)

    def test_it_takes_the_password(self, has_mail, ann):
        with pytest.raises(WrongPassword):
            addresses.ask_for_change(by=ann, email="new@example.org", password="wrong", client="x")

    def test_that_an_address_is_taken_is_told_to_its_reader_only(self, has_mail, ann):
        other = make_user("Other")
        letter = self.ask(has_mail, ann, other.email)
        assert "already" in letter.body and "http" not in letter.body.replace("https://labels.example.org\n", "")

    def test_the_same_address_is_none(self, has_mail, ann):
        with pytest.raises(InvalidInput):
            addresses.ask_for_change(by=ann, email=ann.email.upper(), password=OLD, client="x")

    def test_somebody_may_have_taken_it_meanwhile(self, has_mail, ann):
        letter = self.ask(has_mail, ann)
        User.objects.create_user("new@example.org")
        with pytest.raises(Conflict, match="by now"):
            addresses.use(token=path_in(letter.body).rsplit("/", 1)[1], by=ann, client="x")


class TestInvitation:
    def invite(self, has_mail, project, **fields):
        fields = {"role": Role.ANNOTATOR, "email": "nell@example.org", **fields}
        with has_mail() as box:
            made, token = invitations.invite(project=project, by=owner_of(project), **fields)
        return made, token, box

    def join(self, token):
        found = invitations.find(token=token, by=None)
        return invitations.accept_as_new(invitation=found, name="Nell", email="", password=NEW).user

    def test_mailed_it_is_shown_to_nobody_and_proves(self, has_mail):
        made, token, box = self.invite(has_mail, make_project(name="Two\nlines"))
        assert token is None
        assert (box[-1].to, box[-1].subject) == (["nell@example.org"], "Invitation to “Two lines”")
        assert proof(self.join(token_in(box))) == Proof.MAILED

    def test_no_name_in_a_mail_begins_a_line(self, has_mail):
        """Also a name that an earlier version had stored."""
        project = make_project(name="Letters\x0b\x1b[2Jnow")
        User.objects.filter(pk=owner_of(project).pk).update(name="Mal\r\n\r\nURGENT:\u2028open https://evil.example")
        mail = self.invite(has_mail, project)[-1][-1]
        by = User.objects.get(pk=owner_of(project).pk).email
        who = f"Mal URGENT: open https://evil.example ({by})"
        assert mail.body.splitlines()[0] == f"{who} invites you to label in “Letters [2Jnow”."
        assert mail.subject == "Invitation to “Letters [2Jnow”"

    def test_passed_on_by_hand_it_proves_nothing(self, has_mail):
        _, token, box = self.invite(has_mail, make_project(), by_hand=True)
        assert box == []
        assert proof(self.join(token)) == Proof.UNPROVEN

    def test_without_an_address_there_is_nothing_to_prove(self, has_mail):
        project = make_project()
        _, token, box = self.invite(has_mail, project, email="")
        invitations.accept(invitation=invitations.find(token=token, by=None), by=(ann := make_user("Ann")))
        assert (box, proof(ann)) == ([], Proof.UNPROVEN)

    def test_who_has_an_account_proves_it_too(self, has_mail, ann):
        _, _, box = self.invite(has_mail, make_project(), email=ann.email)
        invitations.accept(invitation=invitations.find(token=token_in(box), by=ann), by=ann)
        assert proof(ann) == Proof.MAILED

    def test_shown_after_it_was_mailed_it_proves_nothing_and_the_mailed_link_ends(self, has_mail):
        project = make_project()
        made, _, box = self.invite(has_mail, project)
        _, token = invitations.show_link(project=project, public_id=made.public_id, by=owner_of(project))
        with pytest.raises(NotFound):
            invitations.find(token=token_in(box), by=None)
        assert proof(self.join(token)) == Proof.UNPROVEN

    def test_a_page_that_was_open_while_the_link_was_replaced_is_too_late(self, has_mail):
        """Else a shown link would be used as a mailed one, in the moment between."""
        project = make_project()
        made, _, box = self.invite(has_mail, project)
        stale = invitations.find(token=token_in(box), by=None)
        invitations.show_link(project=project, public_id=made.public_id, by=owner_of(project))
        with pytest.raises(NotFound):
            invitations.accept_as_new(invitation=stale, name="Nell", email="", password=NEW)

    def test_it_is_sent_again_with_another_link(self, has_mail):
        project = make_project()
        made, _, box = self.invite(has_mail, project)
        first = token_in(box)
        with has_mail() as box:
            invitations.send_again(project=project, public_id=made.public_id, by=owner_of(project))
        assert token_in(box) != first
        assert Invitation.objects.get().mail_state == "sent"
        assert proof(self.join(token_in(box))) == Proof.MAILED


class TestPassword:
    def test_a_mailed_link_proves(self, has_mail, ann):
        with has_mail() as box:
            passwords.ask(email=f" {ann.email.upper()}", client="x")
        passwords.use(token=token_in(box), new=NEW, client="x")
        assert proof(ann) == Proof.MAILED

    def test_one_that_its_maker_was_shown_takes_the_proof_back(self, ann):
        """The maker may be who used it: two accounts in one hand."""
        User.objects.filter(pk=ann.pk).update(proven_at=database_now())
        root = make_user("Root", is_site_owner=True)
        passwords.use(token=passwords.make_link(user=ann, by=root)[1], new=NEW, client="x")
        assert proof(ann) == Proof.UNPROVEN

    @pytest.mark.parametrize("fields", [{"is_active": False}, {"is_simulated": True}, None])
    def test_who_cannot_sign_in_gets_no_mail(self, has_mail, fields):
        email = make_user("Ann", **fields).email if fields else "nobody@example.org"
        with has_mail() as box:
            passwords.ask(email=email, client="x")
        assert box == []

    def test_a_later_mail_ends_the_one_before(self, has_mail, ann):
        tokens = []
        for _ in range(2):
            with has_mail() as box:
                passwords.ask(email=ann.email, client="x")
            tokens.append(token_in(box))
        with pytest.raises(NotFound):
            passwords.find(token=tokens[0])
        assert passwords.find(token=tokens[1]).user == ann

    def test_owners_of_the_site_see_what_was_not_sent_and_send_it(self, has_mail, ann, settings):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
        with has_mail():
            passwords.ask(email=ann.email, client="x")
        root = make_user("Root", is_site_owner=True)
        [link] = passwords.unsent(root)
        with pytest.raises(AccessDenied):
            passwords.unsent(ann)
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        with has_mail() as box:
            assert passwords.send_again(public_id=link.public_id, by=root) == ann
        assert box[-1].to == [ann.email]
        assert not passwords.unsent(root).exists()


class TestVouch:
    def test_it_is_somebodys_word_and_distinct_from_a_mail(self, ann):
        root = make_user("Root", is_site_owner=True)
        for _ in range(2):  # twice is once
            assert addresses.vouch(user=ann, by=root).proof == Proof.VOUCHED
        assert (ann.vouched_by, Event.objects.filter(kind="account.vouched").count()) == (root, 1)
        assert Event.objects.get(kind="account.vouched").actor == root
        assert addresses.take_back_vouch(user=ann, by=root).proof == Proof.UNPROVEN

    def test_only_owners_of_the_site_and_not_for_themselves(self, ann):
        project = make_project()
        for person in (owner_of(project), make_member(project, "Ada", Role.ADMIN)):
            with pytest.raises(AccessDenied):
                addresses.vouch(user=ann, by=person)
        root = make_user("Root", is_site_owner=True)
        with pytest.raises(Conflict):
            addresses.vouch(user=root, by=root)

    def test_not_for_the_simulated(self):
        with pytest.raises(Conflict):
            addresses.vouch(user=make_user("Sim", is_simulated=True), by=None)
