"""The list of people: what it shows, and what its buttons do."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotate import members
from annotate.accounts import invitations
from annotate.labeling import answers, leases
from annotate.models import Annotation, Event, Invitation, Label, Lease, Member, Project
from annotate.models.project import Role
from tests.factories import make_member, make_project, make_user, owner_of
from tests.web.labeling.rows import make_round

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = make_project(name="Letters")
    make_round(project)
    return project


@pytest.fixture
def ann(project):
    """Has answered one question and holds two."""
    ann = make_member(project)
    lease = leases.lease_next(project=project, annotator=ann)[0]
    answer = answers.Answer(label=Label.objects.filter(schema__project=project)[0], seconds=1.0)
    answers.submit(lease_id=lease.public_id, project=project, answer=answer, key="key-of-ann", by=ann)
    leases.lease_next(project=project, annotator=ann, n=2)
    return ann


def answer_as(person, answer):
    """`person` says the same as in `answer`."""
    return Annotation.objects.create(
        project=answer.project,
        item=answer.item,
        entry=answer.entry,
        annotator=person,
        label=answer.label,
        revision=1,
        is_blind=True,
        idempotency_key=f"of {person.pk} {answer.pk}",
    )


def url(project, name, *ids):
    return reverse(name, args=[project.slug, *ids])


class TestListPeople:
    def test_it_shows_what_each_does(self, project, ann, signed_in):
        text = signed_in(owner_of(project)).get(url(project, "people-list")).content.decode()
        assert ann.email in text
        row = re.sub(r"\s+", " ", text[text.index(ann.email) :])
        assert "1 answer stays." in row
        assert "2 held items go back." in row

    def test_it_says_what_was_not_counted(self, project, ann, signed_in):
        owner = signed_in(owner_of(project))
        assert b"not counted" not in owner.get(url(project, "people-list")).content
        ann.annotations.update(is_counted=False)
        assert "of which 1 not counted" in owner.get(url(project, "people-list")).content.decode()

    @pytest.mark.parametrize("rule, n", [("one_trusted", 2), ("agree_k", 0)])
    def test_it_says_what_trust_does(self, project, signed_in, rule, n):
        Project.objects.update(gold_rule=rule, agree_k=2, overlap=2)
        text = signed_in(owner_of(project)).get(url(project, "people-list")).content.decode()
        assert text.count("their answer alone makes gold") == n

    def test_the_number_of_queries_does_not_grow(self, project, ann, signed_in):
        client = signed_in(owner_of(project))

        def n_queries() -> int:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                client.get(url(project, "people-list"))
            return len(queries)

        before = n_queries()
        for _ in range(5):
            make_member(project, "More")
            invitations.invite(project=project, role=Role.VIEWER, by=owner_of(project))
        assert n_queries() == before <= 15

    def test_agreement_has_its_interval_and_its_number(self, project, ann, signed_in):
        Project.objects.update(gold_rule="one_trusted")
        answer = ann.annotations.get()
        other = make_member(project, "Tess", is_trusted=True)
        answer_as(other, answer)
        text = re.sub(r"\s+", " ", signed_in(owner_of(project)).get(url(project, "people-list")).content.decode())
        assert re.search(r"100.0 %</span> <span [^>]*>20.7–100.0 %</span> <span [^>]*>1 question<", text)

    def test_without_others_there_is_no_agreement(self, project, ann, signed_in):
        assert b"nothing to compare" in signed_in(owner_of(project)).get(url(project, "people-list")).content

    def test_figures_of_other_projects_do_not_show(self, project, ann):
        other = make_project()
        Member.objects.create(project=other, user=ann, role=Role.ANNOTATOR)
        row = next(row for row in members.in_project(other) if row.member.user == ann)
        assert (row.n_answers, row.n_today, row.n_held) == (0, 0, 0)


class TestInvite:
    def test_the_link_is_shown_once_and_works(self, project, signed_in, client):
        owner = signed_in(owner_of(project))
        response = owner.post(url(project, "people-invite"), {"role": "reviewer", "days": "7", "is_trusted": "on"})
        assert response.status_code == 201
        link = re.search(r'value="http://testserver(/invitation/[^"]+)"', response.content.decode())[1]
        assert client.get(link).status_code == 200
        assert link not in owner.get(url(project, "people-list")).content.decode()
        assert "no-store" in response.headers["Cache-Control"]
        assert Invitation.objects.get().is_trusted

    def test_outside_links_begin_as_the_site_is_known(self, project, signed_in, settings):
        settings.SITE_URL = "https://labels.example.org"
        response = signed_in(owner_of(project)).post(url(project, "people-invite"), {"role": "viewer", "days": "7"})
        assert b'value="https://labels.example.org/invitation/' in response.content

    @pytest.mark.parametrize(
        "fields", [{"role": "owner"}, {"role": "king"}, {"days": "0"}, {"days": "91"}, {"days": "x"}, {"email": "x"}]
    )
    def test_what_cannot_be_is_said(self, project, signed_in, fields):
        form = {"role": "viewer", "days": "7", **fields}
        assert signed_in(owner_of(project)).post(url(project, "people-invite"), form).status_code == 422
        assert not Invitation.objects.exists()

    def test_who_belongs_is_not_invited(self, project, ann, signed_in):
        form = {"role": "viewer", "days": "7", "email": ann.email}
        response = signed_in(owner_of(project)).post(url(project, "people-invite"), form)
        assert response.status_code == 422
        assert b'id="id_email_error"' in response.content

    def test_it_can_be_revoked_from_the_list(self, project, signed_in, client):
        invitation, token = invitations.invite(project=project, role=Role.VIEWER, by=owner_of(project))
        owner = signed_in(owner_of(project))
        assert b"whoever holds the link" in owner.get(url(project, "people-list")).content
        assert owner.post(url(project, "invitation-revoke", invitation.public_id)).status_code == 303
        assert client.get(reverse("invitation-accept", args=[token])).status_code == 404
        assert b"whoever holds the link" not in owner.get(url(project, "people-list")).content
        assert owner.post(url(project, "invitation-revoke", invitation.public_id)).status_code == 409


class TestSetMember:
    def test_it_changes_role_and_trust(self, project, ann, signed_in):
        owner = signed_in(owner_of(project))
        response = owner.post(url(project, "people-set", ann.public_id), {"role": "reviewer"})
        assert response.headers["Location"] == url(project, "people-list")
        member = Member.objects.get(user=ann)
        assert (member.role, member.is_trusted) == ("reviewer", False)
        assert "Ann: Reviewer, not trusted." in owner.get(response.headers["Location"]).content.decode()
        assert Event.objects.filter(kind="member.set").latest("pk").data["role"] == "reviewer"

    def test_who_may_not_label_any_more_gives_back_what_they_hold(self, project, ann, signed_in):
        signed_in(owner_of(project)).post(url(project, "people-set", ann.public_id), {"role": "viewer"})
        assert not Lease.objects.filter(annotator=ann, ended_at__isnull=True).exists()

    @pytest.mark.parametrize("role", ["owner", "king", ""])
    def test_no_such_role(self, project, ann, signed_in, role):
        response = signed_in(owner_of(project)).post(url(project, "people-set", ann.public_id), {"role": role})
        assert response.status_code == 422

    def test_an_admin_does_not_touch_the_owner(self, project, signed_in):
        ada, owner = make_member(project, "Ada", Role.ADMIN), owner_of(project)
        admin = signed_in(ada)
        assert admin.post(url(project, "people-set", owner.public_id), {"role": "viewer"}).status_code == 409
        assert admin.post(url(project, "people-remove", owner.public_id)).status_code == 409
        assert Member.objects.get(user=owner).role == Role.OWNER

    def test_who_demotes_themselves_lands_where_they_still_may(self, project, signed_in):
        ada = make_member(project, "Ada", Role.ADMIN)
        response = signed_in(ada).post(url(project, "people-set", ada.public_id), {"role": "annotator"})
        assert response.headers["Location"] == url(project, "labeling-work")


class TestRelease:
    def test_everything_held_goes_back(self, project, ann, signed_in):
        owner = signed_in(owner_of(project))
        assert b"Give back 2 held items" in owner.get(url(project, "people-list")).content
        response = owner.post(url(project, "people-release", ann.public_id))
        text = owner.get(response.headers["Location"]).content.decode()
        assert "Ann: 2 held items went back." in text
        assert "Give back" not in text
        assert Event.objects.get(kind="member.released").data == {"user": ann.public_id, "n_released": 2}

    def test_what_ran_out_and_is_still_held_counts(self, project, ann, signed_in):
        Lease.objects.filter(ended_at__isnull=True).update(expires_at=timezone.now() - timedelta(hours=1))
        owner = signed_in(owner_of(project))
        text = re.sub(r"\s+", " ", owner.get(url(project, "people-list")).content.decode())
        assert ", of which 2 ran out" in text
        assert "2 held items go back." in text
        page = owner.get(owner.post(url(project, "people-remove", ann.public_id)).headers["Location"])
        assert b"2 held items went back." in page.content


class TestPasswordLink:
    def test_it_is_shown_once_and_works(self, project, ann, signed_in, client):
        owner = signed_in(owner_of(project))
        response = owner.post(url(project, "people-password", ann.public_id))
        assert response.status_code == 201
        assert "no-store" in response.headers["Cache-Control"]
        link = re.search(r'value="http://testserver(/new-password/[^"]+)"', response.content.decode())[1]
        assert client.get(link).status_code == 200
        assert link not in owner.get(url(project, "people-list")).content.decode()

    def test_it_is_offered_only_for_whom_it_can_be_made(self, project, ann, signed_in):
        owner, words = signed_in(owner_of(project)), b"Make a password link"
        assert owner.get(url(project, "people-list")).content.count(words) == 1  # Ann; not the owner
        Member.objects.create(project=make_project(), user=ann, role=Role.ANNOTATOR)
        assert words not in owner.get(url(project, "people-list")).content
        assert owner.post(url(project, "people-password", ann.public_id)).status_code == 403


class TestRemove:
    def test_answers_stay_and_leases_go(self, project, ann, signed_in):
        owner = signed_in(owner_of(project))
        response = owner.post(url(project, "people-remove", ann.public_id))
        assert (
            "Ann was removed: 1 answer stays, 2 held items went back."
            in owner.get(response.headers["Location"]).content.decode()
        )
        assert ann.annotations.count() == 1
        assert not Lease.objects.filter(annotator=ann, ended_at__isnull=True).exists()
        data = Event.objects.get(kind="member.removed").data
        assert (data["n_answers"], data["n_released"]) == (1, 2)

    def test_twice_is_not_found(self, project, ann, signed_in):
        owner = signed_in(owner_of(project))
        owner.post(url(project, "people-remove", ann.public_id))
        assert owner.post(url(project, "people-remove", ann.public_id)).status_code == 404

    def test_other_projects_keep_the_person(self, project, ann, signed_in):
        other = make_project()
        Member.objects.create(project=other, user=ann, role=Role.ANNOTATOR)
        signed_in(owner_of(project)).post(url(project, "people-remove", ann.public_id))
        assert Member.objects.filter(user=ann).get().project == other

    def test_who_removes_themselves_lands_at_home(self, project, signed_in):
        ada = make_member(project, "Ada", Role.ADMIN)
        assert signed_in(ada).post(url(project, "people-remove", ada.public_id)).headers["Location"] == "/"

    def test_an_open_invitation_for_them_ends(self, project, ann):
        invitation = Invitation.objects.create(
            project=project,
            token_sha256="0" * 64,
            role=Role.VIEWER,
            email=ann.email,
            created_by=owner_of(project),
            expires_at=make_user().created_at.replace(year=2100),
        )
        left = members.remove(project=project, person=ann.public_id, by=owner_of(project))
        invitation.refresh_from_db()
        assert left.n_revoked == 1
        assert invitation.revoked_at
