"""What of a project's rules can change when, and that nobody's change is lost unseen."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.utils import timezone

from annotate import project_settings
from annotate.errors import AccessDenied, Conflict, GoldloopError, InvalidInput
from annotate.models import Budget, Event, Project
from annotate.models.project import Role
from annotate.project_settings import CHANGEABLE, ChangedMeanwhile
from tests.factories import make_member, make_project, owner_of
from tests.rows import make_items, make_round, make_silver


@pytest.fixture
def project(db):
    return make_project()


def change(project, by=None, **changes):
    return project_settings.change(project=project, by=by or owner_of(project), **changes)


class TestChange:
    def test_it_is_changed_and_on_record_with_what_was_before(self, project):
        changed = change(project, target_accuracy=0.95, overlap=2, name=project.name)
        project.refresh_from_db()
        assert (project.target_accuracy, project.overlap) == (0.95, 2) == (changed.target_accuracy, changed.overlap)
        event = Event.objects.get(kind="settings.changed")
        assert event.data == {
            "before": {"target_accuracy": None, "overlap": 1},
            "after": {"target_accuracy": 0.95, "overlap": 2},
        }

    def test_the_same_again_is_no_change(self, project):
        change(project, overlap=1)
        assert not Event.objects.filter(kind="settings.changed").exists()

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER])
    def test_only_who_manages_changes(self, project, role):
        with pytest.raises(AccessDenied):
            change(project, by=make_member(project, role=role), overlap=2)

    @pytest.mark.parametrize("name", ["modality", "seed", "key", "slug", "is_simulated", "audit_cutoff", "nonsense"])
    def test_what_is_fixed_is_named(self, project, name):
        with pytest.raises(InvalidInput, match=name):
            change(project, **{name: "x"})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"overlap": 0},
            {"name": ""},
            {"target_accuracy": 1.0},
            {"gold_rule": "agree_k", "agree_k": 3, "overlap": 2},
            {"gold_rule": "best"},
            {"currency": "usd"},
            {"currency": "€€€"},
            {"time_zone": "Mars/Olympus"},
            {"suggestion_policy": {}},
            {"suggestion_policy": {"start": "hidden", "active": "hidden", "conflict": "loud"}},
            {"suggestion_policy": {"start": "hidden", "active": "hidden", "conflict": "hidden", "audit": "shown"}},
        ],
    )
    def test_what_cannot_work_is_refused_as_a_whole(self, project, wrong):
        with pytest.raises(InvalidInput):
            change(project, **{"reference_target": 77, **wrong})
        project.refresh_from_db()
        assert project.reference_target == 150


class TestGuards:
    @pytest.mark.parametrize("changes", [{"gold_rule": "agree_k", "overlap": 2}, {"agree_k": 1}])
    def test_the_gold_rule_stays_while_a_round_is_open(self, project, changes):
        current = make_round(project, make_items(project))
        with pytest.raises(Conflict, match="Close it"):
            change(project, **changes)
        project.rounds.filter(pk=current.pk).update(state="closed", closed_at=timezone.now())
        assert change(project, **changes)

    def test_the_overlap_is_for_the_next_round(self, project):
        current = make_round(project, make_items(project))
        change(project, overlap=3)
        assert set(current.queue.values_list("overlap", flat=True)) == {1}

    def test_the_audit_sample_stays_as_planned(self, project):
        change(project, audit_target=100)
        make_round(project, make_items(project), is_closed=True)
        with pytest.raises(Conflict, match="planned"):
            change(project, audit_target=300)

    def test_the_currency_changes_before_money_moves(self, project):
        assert change(project, currency="EUR").currency == "EUR"

    @pytest.mark.parametrize("what", ["cap", "answer", "silver"])
    def test_and_not_after(self, project, what):
        items = make_items(project)
        if what == "cap":
            Budget.objects.filter(project=project, kind="human").update(cap_micros=1)
        elif what == "silver":
            make_silver(project, items[:1])
        else:
            project.annotations.create(
                item=items[0], annotator=owner_of(project), skip_reason="unclear", revision=1, is_blind=True,
                idempotency_key="x", price_micros=1,
            )  # fmt: skip
        with pytest.raises(Conflict, match="it stays"):
            change(project, currency="EUR")
        assert change(project, currency="USD", overlap=2).overlap == 2  # the same is no change

    def test_what_cannot_change_now_is_told_before(self, project):
        assert project_settings.refusals(project) == {}
        make_round(project, make_items(project))
        assert set(project_settings.refusals(project)) == {"gold_rule", "agree_k", "audit_target"}

    def test_what_holds_for_two_settings_is_said_once(self, project):
        make_round(project, make_items(project))
        with pytest.raises(Conflict) as refused:
            change(project, gold_rule="agree_k", agree_k=2, overlap=2, audit_target=500)
        sentences = str(refused.value).split(". ")
        assert len(sentences) == len(set(sentences)) == 3


class TestTwoAtOnce:
    def test_the_later_one_is_told(self, project):
        shown = project_settings.stamp(project)
        change(project, shown=shown, overlap=2)
        with pytest.raises(ChangedMeanwhile, match="Somebody else"):
            change(project, shown=shown, overlap=3)
        project.refresh_from_db()
        assert project.overlap == 2
        assert change(project, shown=project_settings.stamp(project), overlap=3).overlap == 3

    def test_the_stamp_stands_for_all_that_can_change(self, project):
        stamps = {project_settings.stamp(project)}
        for name in CHANGEABLE:
            setattr(project, name, "other")
            stamps.add(project_settings.stamp(project))
        assert len(stamps) == len(CHANGEABLE) + 1

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("events_can_be_flushed")
    def test_of_many_at_the_same_moment_one_saves(self):
        project = make_project()
        by, shown = owner_of(project), project_settings.stamp(project)

        def save(overlap: int) -> int:
            try:
                return change(project, by, shown=shown, overlap=overlap).overlap
            except GoldloopError:
                return 0
            finally:
                connection.close()

        with ThreadPoolExecutor(6) as pool:
            saved = [overlap for overlap in pool.map(save, range(2, 8)) if overlap]
        assert saved == [Project.objects.get(pk=project.pk).overlap]
