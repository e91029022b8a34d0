"""Accounts that are shut, what ends with them, and projects that get another owner."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from annotate import access, deactivation, members
from annotate.accounts import invitations, passwords, tokens
from annotate.errors import AccessDenied, Conflict, GoldloopError, InvalidInput, NotFound
from annotate.labeling import leases
from annotate.models import Event, Invitation, Lease, Member, Proof, Run, User
from annotate.models.base import database_now
from annotate.models.project import Role
from annotate.runs import lifecycle
from tests.factories import make_member, make_project, make_user, owner_of
from tests.web.labeling.rows import make_round


@pytest.fixture
def root(db):
    return make_user("Root", is_site_owner=True)


@pytest.fixture
def project(db):
    project = make_project(name="Letters", is_simulated=False)
    make_round(project)
    return project


@pytest.fixture
def ada(project):
    """An admin who has something of everything that ends."""
    ada = make_member(project, "Ada", Role.ADMIN)
    Client().force_login(ada)
    tokens.create(by=ada, name="nightly", scope="manage")
    leases.lease_next(project=project, annotator=ada, n=2)
    invitations.invite(project=project, role=Role.VIEWER, by=ada)
    passwords.make_link(user=ada, by=owner_of(project))
    Run.objects.create(project=project, kind="train", started_by=ada)
    now = database_now()
    held = {"state": Run.State.RUNNING, "heartbeat_at": now, "lease_until": now + timedelta(hours=1)}
    Run.objects.create(project=project, kind="export", started_by=ada, **held)
    return ada


ALL = {"n_sessions": 1, "n_tokens": 1, "n_leases": 2, "n_invitations": 1, "n_links": 1}


class TestDeactivate:
    def test_it_says_before_what_it_does_then(self, project, ada, root):
        before = vars(deactivation.impact(ada))
        assert {name: before[name] for name in ALL} == ALL
        assert ([run.kind for run in before["runs"]], before["owned"]) == (["train", "export"], [])
        done = deactivation.deactivate(user=ada, by=root)
        assert {name: getattr(done, name) for name in ALL} == ALL
        after = vars(deactivation.impact(ada))
        assert {after[name] for name in ALL} == {0} and after["runs"] == []
        event = Event.objects.get(kind="account.deactivated")
        assert (event.actor, event.data) == (root, {"user": ada.public_id, "n_runs": 2, **ALL})

    def test_what_it_holds_goes_to_others_and_answers_stay(self, project, ada, root):
        deactivation.deactivate(user=ada, by=root)
        assert not Lease.objects.filter(annotator=ada, ended_at__isnull=True).exists()
        assert Member.objects.filter(user=ada).exists()  # they come back with the account

    def test_runs_pause_and_go_on_for_whoever_resumes_them(self, project, ada, root):
        deactivation.deactivate(user=ada, by=root)
        train, export = Run.objects.order_by("pk")
        assert (train.state, export.requested_action) == (Run.State.PAUSED, Run.Action.PAUSE)
        assert "deactivated" in train.message
        lifecycle.resume(run=train, by=owner_of(project))
        train.refresh_from_db()
        assert (train.state, train.started_by) == (Run.State.QUEUED, owner_of(project))

    def test_a_run_of_somebody_who_still_manages_stays_theirs(self, project, ada):
        run = Run.objects.get(kind="train")
        lifecycle.pause(run=run, by=owner_of(project))
        lifecycle.resume(run=run, by=owner_of(project))
        run.refresh_from_db()
        assert run.started_by == ada

    def test_its_invitations_do_not_come_back_with_it(self, project, ada, root):
        deactivation.deactivate(user=ada, by=root)
        deactivation.reactivate(user=ada, by=root)
        assert Invitation.objects.get().revoked_at
        assert access.membership(User.objects.get(pk=ada.pk), project)

    def test_twice_is_refused(self, ada, root):
        deactivation.deactivate(user=ada, by=root)
        with pytest.raises(Conflict, match="already"):
            deactivation.deactivate(user=ada, by=root)
        deactivation.reactivate(user=ada, by=root)
        with pytest.raises(Conflict, match="not deactivated"):
            deactivation.reactivate(user=ada, by=root)

    @pytest.mark.parametrize("role", list(Role))
    def test_only_owners_of_the_site(self, project, ada, role):
        by = owner_of(project) if role == Role.OWNER else make_member(project, "By", role)
        for act in (deactivation.deactivate, deactivation.reactivate):
            with pytest.raises(AccessDenied):
                act(user=ada, by=by)

    def test_nobody_deactivates_themselves(self, root):
        make_user("Second", is_site_owner=True)
        with pytest.raises(Conflict, match="own account"):
            deactivation.deactivate(user=root, by=root)

    def test_the_last_owner_of_the_site_stays_for_commands_too(self, root):
        make_user("Gone", is_site_owner=True, is_active=False)
        with pytest.raises(Conflict, match="last owner"):
            deactivation.deactivate(user=root, by=None)

    def test_a_deactivated_owner_of_the_site_deactivates_nobody(self, ada, root):
        second = make_user("Second", is_site_owner=True)
        deactivation.deactivate(user=root, by=second)
        with pytest.raises(AccessDenied):
            deactivation.deactivate(user=ada, by=root)  # as the request read it before


class TestOwned:
    def test_projects_are_named_and_handed_over_at_once(self, project, ada, root):
        owner = owner_of(project)
        with pytest.raises(Conflict, match="letters"):
            deactivation.deactivate(user=owner, by=root)
        assert User.objects.get(pk=owner.pk).is_active
        deactivation.deactivate(user=owner, by=root, heirs={"letters": ada.public_id})
        assert owner_of(project) == ada
        assert Member.objects.get(user=owner).role == Role.ADMIN

    def test_who_runs_the_site_may_take_a_project_without_others(self, project, root):
        deactivation.deactivate(user=owner_of(project), by=root, heirs={"letters": root.public_id})
        assert owner_of(project) == root

    @pytest.mark.parametrize("who", ["stranger", "simulated", "nobody"])
    def test_not_to_others(self, project, root, who):
        other = make_user("Sam")
        if who == "simulated":
            Member.objects.create(project=project, user=make_user("Sim", is_simulated=True), role=Role.ADMIN)
            other = User.objects.get(is_simulated=True)
        heir = "0" * 20 if who == "nobody" else other.public_id
        with pytest.raises(InvalidInput):
            deactivation.deactivate(user=owner_of(project), by=root, heirs={"letters": heir})
        assert owner_of(project).is_active

    def test_not_for_what_it_does_not_own(self, ada, root):
        with pytest.raises(InvalidInput, match="does not own"):
            deactivation.deactivate(user=ada, by=root, heirs={"letters": root.public_id})

    def test_a_project_whose_owner_is_gone(self, project, ada, root):
        with pytest.raises(Conflict, match="can sign in"):
            deactivation.hand_over_of_gone(project=project, heir=ada.public_id, by=root)
        User.objects.filter(pk=owner_of(project).pk).update(is_active=False)
        with pytest.raises(AccessDenied):
            deactivation.hand_over_of_gone(project=project, heir=ada.public_id, by=ada)
        deactivation.hand_over_of_gone(project=project, heir=ada.public_id, by=root)
        assert owner_of(project) == ada


class TestHandOver:
    def test_the_owner_becomes_an_admin(self, project):
        old, new = owner_of(project), make_member(project, "Ann", is_trusted=False)
        done = members.hand_over(project=project, person=new.public_id, by=old)
        roles = dict(project.members.values_list("user", "role"))
        assert (roles[old.pk], roles[new.pk], done.left) == (Role.ADMIN, Role.OWNER, None)
        assert Member.objects.get(user=new).is_trusted
        event = Event.objects.get(kind="project.handed_over")
        assert (event.actor, event.data["new"], event.data["stays"]) == (old, new.public_id, True)

    def test_or_leaves(self, project):
        old, new = owner_of(project), make_member(project)
        leases.lease_next(project=project, annotator=old)
        done = members.hand_over(project=project, person=new.public_id, by=old, stays=False)
        assert (done.left.n_released, access.membership(old, project)) == (1, None)

    def test_only_once(self, project):
        old, new = owner_of(project), make_member(project)
        members.hand_over(project=project, person=new.public_id, by=old)
        with pytest.raises(AccessDenied):
            members.hand_over(project=project, person=old.public_id, by=old)

    def test_only_to_members_who_sign_in(self, project):
        gone = make_member(project)
        User.objects.filter(pk=gone.pk).update(is_active=False)
        for person in (gone, make_user(), owner_of(project)):
            with pytest.raises(NotFound):
                members.hand_over(project=project, person=person.public_id, by=owner_of(project))

    def test_admins_do_not(self, project, ada, root):
        for by, error in ((ada, AccessDenied), (root, NotFound)):  # for root the project does not exist
            with pytest.raises(error):
                members.hand_over(project=project, person=ada.public_id, by=by)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
class TestAtOnce:
    def both(self, *jobs):
        def one(job):
            try:
                job()
                return "done"
            except GoldloopError:
                return "refused"
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            return sorted(pool.map(one, jobs))

    def test_of_two_at_once_one_goes_through(self):
        first, second = (make_user(name, is_site_owner=True) for name in ("First", "Second"))
        assert self.both(
            lambda: deactivation.deactivate(user=second, by=first),
            lambda: deactivation.deactivate(user=first, by=second),
        ) == ["done", "refused"]
        assert User.objects.filter(is_site_owner=True, is_active=True).count() == 1
        project = make_project()
        old, ann, ben = owner_of(project), make_member(project), make_member(project, "Ben")
        assert self.both(
            lambda: members.hand_over(project=project, person=ann.public_id, by=old),
            lambda: members.hand_over(project=project, person=ben.public_id, by=old),
        ) == ["done", "refused"]
        assert project.members.filter(role=Role.OWNER).count() == 1


def said(*words, **options) -> str:
    out = StringIO()
    call_command(*words, stdout=out, **options)
    return out.getvalue()


class TestCommands:
    def test_account(self, project, ada, root):
        assert "vouched for" in said("account", ada.email, "--vouch")
        assert User.objects.get(pk=ada.pk).vouched_by is None
        assert "address not proven" in said("account", ada.email, "--take-back")
        owner = owner_of(project)
        with pytest.raises(CommandError, match="letters"):
            said("account", owner.email, "--deactivate")
        told = said("account", owner.email, "--deactivate", f"--hand-over=letters={ada.email}")
        assert f"{ada.email} owns letters now." in told and "deactivated" in told
        assert "deactivated" not in said("account", owner.email, "--reactivate")

    def test_hand_over(self, project, ada):
        old = owner_of(project)
        with pytest.raises(CommandError, match="no member"):
            said("hand_over", "letters", make_user().email)
        assert f"{old.email} left." in said("hand_over", "letters", ada.email, "--leaves")
        assert owner_of(project) == ada

    def test_who_is_made_on_the_server_has_a_name_of_one_line(self, db):
        with pytest.raises(CommandError, match="printable"):
            said("create_user", "mal@example.org", "--no-password", "--name=Mal\n\nURGENT")
        assert not User.objects.filter(email="mal@example.org").exists()

    def test_who_is_made_on_the_server_is_vouched_for(self, db):
        said("create_user", "ann@example.org", "--no-password")
        said("create_user", "ben@example.org", "--no-password", "--unproven")
        proofs = {user.email[:3]: user.proof for user in User.objects.all()}
        assert proofs == {"ann": Proof.VOUCHED, "ben": Proof.UNPROVEN}
