"""New passwords: who may give whom a link, and what ends with the old one."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.utils import timezone

from annotate import members
from annotate.accounts import passwords, sign_in, tokens
from annotate.accounts.sign_in import PER_ADDRESS, PER_CLIENT, TooManyAttempts, WrongPassword
from annotate.errors import AccessDenied, GoldloopError, InvalidInput, NotFound
from annotate.models import Event, Member, PasswordReset, User
from annotate.models.project import Role
from tests.factories import make_member, make_project, make_user, owner_of

OLD, NEW = "a horse on the roof", "another good one"


@pytest.fixture(autouse=True)
def passwords_hash_fast(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def project(db):
    return make_project()


@pytest.fixture
def ann(project):
    ann = make_member(project)
    ann.set_password(OLD)
    ann.save()
    return ann


def link_for(user, by) -> str:
    return passwords.make_link(user=user, by=by)[1]


def use(token, new=NEW, **fields):
    return passwords.use(token=token, new=new, **{"client": "x", **fields})


def knows(user, password) -> bool:
    return User.objects.get(pk=user.pk).check_password(password)


@pytest.mark.django_db
class TestWhoMay:
    def test_who_manages_all_projects_of_somebody(self, project, ann):
        assert use(link_for(ann, owner_of(project))) == ann
        ada = make_member(project, "Ada", Role.ADMIN)
        assert use(link_for(ann, ada)) == ann

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER])
    def test_nobody_else_in_the_project(self, project, ann, role):
        with pytest.raises(AccessDenied):
            link_for(ann, make_member(project, "Rob", role))

    def test_not_where_they_belong_to_a_project_of_others(self, project, ann):
        Member.objects.create(project=make_project(), user=ann, role=Role.VIEWER)
        with pytest.raises(AccessDenied, match="only those who run this site"):
            link_for(ann, owner_of(project))

    def test_unless_they_manage_that_one_too(self, project, ann):
        other = make_project()
        Member.objects.create(project=other, user=ann, role=Role.VIEWER)
        Member.objects.create(project=other, user=owner_of(project), role=Role.ADMIN)
        assert link_for(ann, owner_of(project))

    def test_an_admin_does_not_become_the_owner(self, project):
        with pytest.raises(AccessDenied):
            link_for(owner_of(project), make_member(project, "Ada", Role.ADMIN))

    def test_who_belongs_nowhere_is_nobodys(self, project):
        with pytest.raises(AccessDenied):
            link_for(make_user(), owner_of(project))

    def test_a_site_owner_helps_everybody(self, project, ann):
        root = make_user("Root", is_site_owner=True)
        for user in (ann, owner_of(project), make_user(), make_user("Other", is_site_owner=True)):
            assert link_for(user, root)

    def test_a_site_owner_is_nobodys(self, project, ann):
        User.objects.filter(pk=ann.pk).update(is_site_owner=True)
        with pytest.raises(AccessDenied):
            link_for(ann, owner_of(project))

    def test_nobody_helps_themselves_past_their_old_password(self, project):
        root = make_user("Root", is_site_owner=True)
        ada = make_member(project, "Ada", Role.ADMIN)
        for user in (root, ada):
            with pytest.raises(AccessDenied):
                link_for(user, user)

    @pytest.mark.parametrize("fields", [{"is_simulated": True}, {"is_active": False}])
    def test_not_for_who_cannot_sign_in(self, project, ann, fields):
        User.objects.filter(pk=ann.pk).update(**fields)
        with pytest.raises(AccessDenied):
            link_for(ann, make_user("Root", is_site_owner=True))

    def test_who_is_deactivated_helps_nobody(self, ann):
        with pytest.raises(AccessDenied):
            link_for(ann, make_user("Root", is_site_owner=True, is_active=False))

    def test_in_a_project_its_members_only(self, project, ann):
        owner = owner_of(project)
        link, token = passwords.make_link_in(project=project, person=ann.public_id, by=owner)
        assert (link.user, use(token)) == (ann, ann)
        with pytest.raises(NotFound):
            passwords.make_link_in(project=project, person=make_user().public_id, by=owner)
        with pytest.raises(AccessDenied):
            passwords.make_link_in(project=project, person=ann.public_id, by=ann)


@pytest.mark.django_db
class TestLink:
    def test_only_the_digest_is_stored(self, project, ann):
        token = link_for(ann, owner_of(project))
        assert len(token) >= 43  # 256 bits
        assert token not in str(PasswordReset.objects.values().get())
        assert token not in str(list(Event.objects.values()))

    def test_it_works_once(self, project, ann):
        token = link_for(ann, owner_of(project))
        use(token)
        with pytest.raises(NotFound):
            use(token, "a third good one")
        assert knows(ann, NEW)

    def test_it_works_for_a_day(self, project, ann):
        now = timezone.now()
        _, token = passwords.make_link(user=ann, by=owner_of(project), now=now)
        with pytest.raises(NotFound):
            use(token, now=now + timedelta(hours=24))
        use(token, now=now + timedelta(hours=23, minutes=59))

    def test_the_latest_one_works(self, project, ann):
        first, second = link_for(ann, owner_of(project)), link_for(ann, owner_of(project))
        with pytest.raises(NotFound):
            use(first)
        assert use(second) == ann
        assert Event.objects.filter(kind="password.link_made").latest("pk").data["n_revoked"] == 1

    def test_it_is_as_good_as_its_maker(self, project, ann):
        ada = make_member(project, "Ada", Role.ADMIN)
        token = link_for(ann, ada)
        members.remove(project=project, person=ada.public_id, by=owner_of(project))
        with pytest.raises(NotFound):
            use(token)

    def test_it_ends_where_its_person_comes_to_own_a_project(self, project, ann):
        token = link_for(ann, owner_of(project))
        make_project(by=ann)
        with pytest.raises(NotFound):
            use(token)

    def test_all_that_do_not_work_read_the_same(self, project, ann):
        used, replaced = link_for(ann, owner_of(project)), ""
        use(used)
        replaced = link_for(ann, owner_of(project))
        link_for(ann, owner_of(project))
        said = set()
        for token in (used, replaced, "", "A" * 43, "\udcff"):
            with pytest.raises(NotFound) as gone:
                passwords.find(token=token)
            said.add(str(gone.value))
        assert len(said) == 1

    def test_a_weak_password_does_not_use_it_up(self, project, ann):
        token = link_for(ann, owner_of(project))
        with pytest.raises(InvalidInput):
            use(token, "short")
        assert use(token) == ann

    def test_guessing_is_throttled(self, project, ann):
        token = link_for(ann, owner_of(project))
        for number in range(PER_CLIENT):
            with pytest.raises(NotFound):
                use(f"forged-{number}", client="10.0.0.1")
        with pytest.raises(TooManyAttempts):
            use(token, client="10.0.0.1")
        assert use(token, client="10.0.0.2") == ann


@pytest.mark.django_db
class TestUse:
    def test_everything_made_with_the_old_one_ends(self, project, ann):
        browser = Client()
        browser.force_login(ann)
        _, secret = tokens.create(by=ann, name="x", scope="read")
        use(link_for(ann, owner_of(project)))
        assert knows(ann, NEW)
        assert not Session.objects.exists()
        assert tokens.verify(secret) is None
        event = Event.objects.get(kind="password.reset")
        assert (event.actor, event.data["n_sessions"], event.data["n_tokens"]) == (ann, 1, 1)

    def test_who_was_locked_out_gets_in(self, project, ann):
        for _ in range(PER_ADDRESS):
            with pytest.raises(WrongPassword):
                sign_in.verify(email=ann.email, password="wrong", client="elsewhere")
        use(link_for(ann, owner_of(project)))
        assert sign_in.verify(email=ann.email, password=NEW, client="x") == ann


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
def test_of_many_at_once_one_chooses():
    project = make_project()
    ann = make_member(project)
    token = link_for(ann, owner_of(project))

    def choose(number: int) -> str:
        try:
            use(token, f"{NEW} {number}", client=str(number))
            return f"{NEW} {number}"
        except GoldloopError:
            return ""
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        chosen = [password for password in pool.map(choose, range(6)) if password]
    assert len(chosen) == 1
    assert knows(ann, chosen[0])


@pytest.mark.django_db
class TestChange:
    def change(self, by, old=OLD, new=NEW, **fields):
        return passwords.change(by=by, old=old, new=new, client="x", **fields)

    def test_it_is_changed_and_recorded(self, ann):
        self.change(ann)
        assert knows(ann, NEW)
        assert Event.objects.get(kind="password.changed").actor == ann

    def test_tokens_end_on_request(self, ann):
        _, secret = tokens.create(by=ann, name="x", scope="read")
        assert self.change(ann) == 0
        assert tokens.verify(secret)
        assert self.change(ann, NEW, OLD, ends_tokens=True) == 1
        assert tokens.verify(secret) is None

    def test_open_links_end(self, project, ann):
        token = link_for(ann, owner_of(project))
        self.change(ann)
        with pytest.raises(NotFound):
            use(token)

    def test_the_old_one_is_not_guessed_for_ever(self, ann):
        for _ in range(PER_ADDRESS):
            with pytest.raises(WrongPassword):
                self.change(ann, "wrong")
        with pytest.raises(TooManyAttempts):
            self.change(ann)

    @pytest.mark.parametrize("new", ["short", "password1234", "annette1"])
    def test_a_weak_one_is_refused(self, new):
        annette = make_user("Annette", password=OLD)
        with pytest.raises(InvalidInput):
            self.change(annette, new=new)
        assert knows(annette, OLD)
