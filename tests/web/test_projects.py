"""Home: the projects I belong to and what waits there."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate.labeling import leases, workload
from annotate.models import Member
from annotate.models.project import Role
from annotate.reports import my_projects
from tests.factories import answer_round, make_member, make_project, make_user, owner_of
from tests.web.labeling.rows import close, make_round

pytestmark = pytest.mark.django_db


def standing(user):
    [one] = my_projects.standings(user)
    return one


class TestListProjects:
    def test_only_mine(self, signed_in):
        mine, other = make_project(name="Mine alone"), make_project(name="Of others")
        text = signed_in(make_member(mine)).get("/").content.decode()
        assert "Mine alone" in text
        assert "Of others" not in text
        assert other.slug not in text

    def test_without_any_it_says_what_to_do(self, signed_in):
        text = signed_in(make_user()).get("/").content.decode()
        assert "Ask for an invitation" in text
        assert "manage.py create_user --site-owner" in text

    @pytest.mark.parametrize(
        ("role", "page"),
        [
            (Role.ADMIN, "overview-show"),
            (Role.VIEWER, "overview-show"),
            (Role.REVIEWER, "overview-show"),
            (Role.ANNOTATOR, "labeling-work"),
        ],
    )
    def test_it_leads_where_the_role_begins(self, signed_in, role, page):
        project = make_project()
        response = signed_in(make_member(project, role=role)).get("/")
        [row] = response.context["projects"]
        assert row["home"] == reverse(page, args=[project.slug])

    def test_what_waits(self, signed_in):
        project = make_project()
        ann = make_member(project)
        client = signed_in(ann)

        def line() -> str:
            return client.get("/").context["projects"][0]["line"]

        assert line() == "No round yet: nothing is asked."
        make_round(project)
        assert line() == "Round 1: 5 questions wait for you."
        answer_round(project, by=ann, leave=1)
        assert line() == "Round 1: 1 question waits for you."
        answer_round(project, by=ann)
        assert line() == "Round 1: nothing waits for you."
        close(project.rounds.get(), owner_of(project))
        assert line() == "Round 1 is closed: nothing is asked now."

    def test_the_number_of_queries_is_the_same_for_many(self, signed_in):
        ann = make_user("Ann")
        client = signed_in(ann)

        def n_queries() -> int:
            with CaptureQueriesContext(connection) as queries:
                client.get("/")
            return len(queries)

        def join() -> None:
            project = make_project()
            make_round(project)
            Member.objects.create(project=project, user=ann, role=Role.ANNOTATOR)

        join()
        before = n_queries()
        for _ in range(4):
            join()
        assert n_queries() == before <= 8


class TestStandings:
    def test_it_counts_as_the_label_page_does(self):
        project = make_project()
        make_round(project, overlap=2)
        ann, ben = make_member(project, "Ann"), make_member(project, "Ben")
        answer_round(project, by=ann, leave=3)
        leases.lease_next(project=project, annotator=ben, n=2)
        for person in (ann, ben):
            assert standing(person).n_mine == workload.remaining(project=project, annotator=person).n_left

    def test_what_others_hold_does_not_wait_for_me(self):
        project = make_project()
        make_round(project)
        ann, ben = make_member(project, "Ann"), make_member(project, "Ben")
        leases.lease_next(project=project, annotator=ben, n=2)
        assert (standing(ann).n_mine, standing(ben).n_mine) == (3, 5)

    def test_nothing_waits_for_a_viewer(self):
        project = make_project()
        make_round(project)
        assert standing(make_member(project, "Vera", Role.VIEWER)).n_mine == 0
