"""What is left for one person, and why there is nothing: counted per person, in few statements."""

from datetime import timedelta

import pytest

from annotate.labeling import workload
from annotate.models import QueueEntry
from annotate.models.project import Role
from tests.annotate.asking import (
    Statements,
    answer,
    leave_open,
    question,
    submit,
    take,
)
from tests.factories import make_member, make_project, make_user, owner_of

pytestmark = pytest.mark.django_db


class TestWhyEmpty:
    def why(self, project, person):
        return workload.why_empty(project=project, annotator=person)

    def test_no_round(self, asked):
        assert self.why(make_project(), make_user()) == workload.Empty("no_round")

    def test_all_answered_by_me(self, asked):
        project = asked(overlap=2)
        leave_open(project, 1)
        answer(question_at(project, 1), owner_of(project))
        assert self.why(project, owner_of(project)) == workload.Empty("all_answered_by_me", 1)

    def test_held_by_others(self, asked):
        project = asked()
        leave_open(project, 1)
        take(project, owner_of(project))
        with Statements() as statements:
            assert self.why(project, make_member(project)) == workload.Empty("held_by_others", 1, 1)
        assert sum(sql.startswith("SELECT") for sql in statements.sql) <= 8  # the member's own included

    def test_round_done(self, asked):
        project = asked()
        leave_open(project, 1)
        answer(question_at(project, 1), owner_of(project))
        assert self.why(project, make_member(project)) == workload.Empty("round_done")

    def test_not_for_me(self, asked):
        project = asked()
        assert self.why(project, make_member(project, role=Role.VIEWER)) == workload.Empty("not_for_me", 10)


def question_at(project, position):
    return QueueEntry.objects.get(round__project=project, position=position)


class TestRemaining:
    def test_it_counts_for_this_person(self, asked):
        project = asked()
        olga, ann = owner_of(project), make_member(project)
        submit(take(project, olga)[0])
        submit(take(project, olga)[0], "skip")
        take(project, olga, n=2)
        take(project, ann, n=1)
        with Statements() as statements:
            progress = workload.remaining(project=project, annotator=olga)
        # Ten, less one answered, one skipped and handed to Ann.
        assert progress == workload.OwnProgress(n_left=8, n_answered_today=1, n_in_round=10)
        assert workload.remaining(project=project, annotator=ann).n_left == 7
        assert len(statements) == 1

    def test_today_is_the_projects(self, asked):
        project = asked(time_zone="Pacific/Kiritimati")
        spoken = answer(question(project), owner_of(project))
        midnight = spoken.created_at.replace(hour=10, minute=0, second=0, microsecond=0)
        type(spoken).objects.update(created_at=midnight - timedelta(seconds=1))
        progress = workload.remaining(project=project, annotator=owner_of(project), now=midnight)
        assert progress.n_answered_today == 0
        type(spoken).objects.update(created_at=midnight)
        progress = workload.remaining(project=project, annotator=owner_of(project), now=midnight)
        assert progress.n_answered_today == 1

    def test_without_a_round_it_is_nothing(self):
        project = make_project()
        progress = workload.remaining(project=project, annotator=owner_of(project))
        assert progress == workload.OwnProgress(0, 0, 0)
