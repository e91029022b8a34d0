"""One-time links: who may make them, who may use them, and only once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from annotate import access, members
from annotate.accounts import invitations
from annotate.accounts.invitations import AddressTaken
from annotate.accounts.sign_in import BadName
from annotate.errors import AccessDenied, Conflict, GoldloopError, InvalidInput, NotFound
from annotate.models import Event, Invitation, Member, User
from annotate.models.project import Role
from tests.factories import make_member, make_project, make_user, owner_of


def invite(project, by=None, **fields):
    return invitations.invite(project=project, by=by or owner_of(project), **{"role": Role.ANNOTATOR, **fields})


def join(token, by):
    return invitations.accept(invitation=invitations.find(token=token, by=by), by=by)


@pytest.mark.django_db
class TestInvite:
    def test_only_the_digest_is_stored(self):
        _, token = invite(make_project())
        assert len(token) >= 43  # 256 bits
        assert token not in str(Invitation.objects.values().get())
        assert token not in str(list(Event.objects.values()))

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER])
    def test_only_who_manages_invites(self, role):
        project = make_project()
        with pytest.raises(AccessDenied):
            invite(project, by=make_member(project, role=role))

    @pytest.mark.parametrize("role", [Role.OWNER, "king", ""])
    def test_nobody_is_invited_as_owner(self, role):
        with pytest.raises(InvalidInput):
            invite(make_project(), role=role)

    @pytest.mark.parametrize("days", [0, -1, 91])
    def test_it_is_valid_for_days(self, days):
        with pytest.raises(InvalidInput):
            invite(make_project(), days=days)

    def test_who_belongs_is_not_invited(self):
        project = make_project()
        with pytest.raises(Conflict):
            invite(project, email=make_member(project).email)


@pytest.mark.django_db
class TestAccept:
    def test_it_lets_in_as_it_says(self):
        project, sam = make_project(), make_user()
        invitation, token = invite(project, role=Role.REVIEWER, is_trusted=True)
        member = join(token, sam)
        assert (member.project, member.role, member.is_trusted) == (project, Role.REVIEWER, True)
        invitation.refresh_from_db()
        assert invitation.used_by == sam
        assert Event.objects.get(kind="invitation.accepted").actor == sam

    def test_it_works_once(self):
        _, token = invite(make_project())
        join(token, make_user())
        with pytest.raises(NotFound, match="used, withdrawn or has expired"):
            join(token, make_user())

    def test_who_used_it_finds_the_way_again(self):
        _, token = invite(make_project())
        sam = make_user()
        assert join(token, sam) == join(token, sam)

    def test_a_forged_one_is_not_found(self):
        invite(make_project())
        for token in ("", "x", "\udcff".encode("utf-8", "replace").decode(), "A" * 43):
            with pytest.raises(NotFound):
                invitations.find(token=token, by=None)

    def test_it_expires(self):
        _, token = invite(make_project(), days=1, now=timezone.now() - timedelta(days=1, seconds=1))
        with pytest.raises(NotFound):
            join(token, make_user())

    def test_it_can_be_revoked(self):
        project = make_project()
        invitation, token = invite(project)
        invitations.revoke(project=project, public_id=invitation.public_id, by=owner_of(project))
        with pytest.raises(NotFound):
            join(token, make_user())
        with pytest.raises(Conflict):
            invitations.revoke(project=project, public_id=invitation.public_id, by=owner_of(project))

    def test_another_projects_invitation_is_not_found(self):
        project, other = make_project(), make_project()
        invitation, _ = invite(other)
        with pytest.raises(NotFound):
            invitations.revoke(project=project, public_id=invitation.public_id, by=owner_of(project))

    def test_one_with_an_address_is_for_that_person(self):
        ann = make_user("Ann")
        _, token = invite(make_project(), email=ann.email.upper())
        with pytest.raises(Conflict):
            join(token, make_user())
        assert join(token, ann).role == Role.ANNOTATOR

    def test_who_belongs_stays_what_they_are_and_the_link_unused(self):
        project = make_project()
        ann = make_member(project, role=Role.VIEWER, is_trusted=False)
        _, token = invite(project, role=Role.ADMIN, is_trusted=True)
        assert join(token, ann).role == Role.VIEWER
        assert join(token, make_user()).role == Role.ADMIN

    @pytest.mark.parametrize("how", ["removed", "demoted", "deactivated"])
    def test_who_lost_the_right_does_not_come_back_by_an_own_link(self, how):
        project = make_project()
        ada = make_member(project, "Ada", Role.ADMIN)
        _, token = invite(project, by=ada, role=Role.ADMIN)
        owner = owner_of(project)
        if how == "removed":
            members.remove(project=project, person=ada.public_id, by=owner)
        elif how == "demoted":
            members.set_member(project=project, person=ada.public_id, role=Role.VIEWER, is_trusted=False, by=owner)
        else:
            User.objects.filter(pk=ada.pk).update(is_active=False)
        with pytest.raises(NotFound):
            join(token, make_user())

    def test_a_demotion_behind_the_back_is_seen_too(self):
        project = make_project()
        ada = make_member(project, "Ada", Role.ADMIN)
        _, token = invite(project, by=ada)
        Member.objects.filter(user=ada).update(role=Role.VIEWER)
        with pytest.raises(NotFound):
            join(token, make_user())


@pytest.mark.django_db
class TestAcceptAsNew:
    def accept(self, token, **fields):
        fields = {"name": "New", "email": "new@example.org", "password": "a horse on the roof", **fields}
        return invitations.accept_as_new(invitation=invitations.find(token=token, by=None), **fields)

    def test_it_makes_a_person_who_can_sign_in(self):
        _, token = invite(make_project())
        member = self.accept(token, email=" New@Example.ORG ")
        assert member.user.email == "new@example.org"
        assert member.user.check_password("a horse on the roof")

    def test_a_named_address_is_kept(self):
        _, token = invite(make_project(), email="ann@example.org")
        assert self.accept(token, email="evil@example.org").user.email == "ann@example.org"

    def test_an_address_with_an_account_signs_in_first(self):
        sam = make_user()
        _, token = invite(make_project())
        with pytest.raises(AddressTaken):
            self.accept(token, email=sam.email)
        assert join(token, sam)

    def test_a_weak_password_makes_nobody(self):
        _, token = invite(make_project())
        with pytest.raises(InvalidInput):
            self.accept(token, password="12345")
        assert not User.objects.filter(email="new@example.org").exists()

    @pytest.mark.parametrize("name", ["", "Mal\r\n\r\nURGENT: open https://evil.example", "Mal\u2028x", "\u202elaM"])
    def test_a_name_is_one_printable_line(self, name):
        _, token = invite(make_project())
        with pytest.raises(BadName):
            self.accept(token, name=name)
        assert not User.objects.filter(email="new@example.org").exists()

    def test_too_late_makes_nobody(self):
        invitation, token = invite(make_project())
        join(token, make_user())
        with pytest.raises(NotFound):
            invitations.accept_as_new(
                invitation=invitation, name="New", email="new@example.org", password="a horse on the roof"
            )
        assert not User.objects.filter(email="new@example.org").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
def test_of_many_at_once_one_gets_in():
    project = make_project()
    invitation, _ = invite(project)
    crowd = [make_user() for _ in range(8)]

    def one(person: User) -> bool:
        try:
            invitations.accept(invitation=invitation, by=person)
        except GoldloopError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, crowd)) == 1
    assert [access.membership(person, project) is not None for person in crowd].count(True) == 1
