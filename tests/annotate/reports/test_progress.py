"""Progress as numbers, and the right next step in every state of the loop."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotate import label_changes, projects
from annotate.label_changes import NextLabel
from annotate.models import Annotation, Budget, Gold, Item, ModelVersion
from annotate.projects import NewLabel
from annotate.reports import next_step, progress
from annotate.silver import prompts
from tests.factories import make_member, make_project, owner_of
from tests.rows import (
    make_estimate,
    make_export,
    make_finished_round,
    make_items,
    make_model,
    make_round,
    make_run,
    make_silver,
    make_version,
)

pytestmark = pytest.mark.django_db


def step(project):
    return next_step.choose(project, progress.progress(project))


class TestNextStep:
    def test_without_items_it_is_to_import(self):
        assert step(make_project()).kind == "import"

    def test_items_of_an_unfinished_import_do_not_count(self):
        project = make_project()
        make_items(project)
        project.imports.update(state="running", finished_at=None)
        assert step(project).kind == "import"

    @pytest.mark.parametrize(("n", "words"), [(1, "1 question of round 1 waits"), (2, "2 questions of round 1 wait")])
    def test_where_nobody_can_be_asked_it_is_to_invite(self, n, words):
        project = make_project()
        make_round(project, make_items(project, n))
        project.members.update(role="viewer")
        found = step(project)
        assert (found.kind, found.counts["n"]) == ("invite", n)
        assert found.sentence.startswith(words)

    def test_without_silver_it_is_to_prelabel(self):
        project = make_project()
        make_items(project)
        assert step(project).kind == "prelabel"

    def test_items_imported_since_are_prelabeled_first(self):
        project = make_project()
        make_silver(project, make_items(project))
        make_items(project, 3)
        assert (step(project).kind, step(project).counts) == ("prelabel", {"n": 3})

    def test_with_silver_it_is_to_draw(self):
        project = make_project()
        make_silver(project, make_items(project))
        assert step(project).kind == "draw"

    def test_failures_are_silver_too(self):
        project = make_project()
        make_silver(project, make_items(project), status="refusal")
        assert step(project).kind == "draw"

    def test_open_questions_wait_for_people(self):
        project = make_project()
        items = make_items(project)
        make_silver(project, items)
        make_round(project, items, answered=1)
        assert step(project).counts == {"n": 3, "total": 4, "round": 1}
        assert step(project).kind == "label"

    def test_open_questions_come_before_everything_else(self):
        project = make_project()
        make_round(project, make_items(project))
        make_run(project, state="running")
        assert step(project).kind == "label"

    def test_a_round_that_is_answered_is_closed(self):
        project = make_project()
        items = make_items(project)
        make_round(project, items, answered=4)
        assert step(project).kind == "close"

    def test_a_closed_round_is_trained_on(self):
        project = make_project()
        items = make_items(project)
        make_silver(project, items)
        make_round(project, items, answered=4, is_closed=True)
        assert step(project).kind == "train"

    def test_disagreements_come_before_training_where_there_are_reviewers(self):
        project = make_project()
        make_finished_round(project)  # answered, and no gold came of it
        ModelVersion.objects.update(is_champion=False)
        assert step(project).kind != "review"
        make_member(project, "Ravi", "reviewer")
        assert (step(project).kind, step(project).counts) == ("review", {"n": 2})
        assert "2 questions on which people disagree wait" in step(project).sentence

    def test_a_model_from_before_the_round_is_trained_again(self):
        project = make_project()
        items = make_items(project)
        make_silver(project, items)
        model = make_model(project)
        make_round(project, items, answered=4, is_closed=True)
        ModelVersion.objects.filter(pk=model.pk).update(created_at=timezone.now() - timedelta(days=1))
        assert step(project).kind == "train"

    def test_items_that_no_model_has_met_are_trained_on(self):
        project = make_project()
        make_finished_round(project)
        make_silver(project, make_items(project, 2))
        assert step(project).kind == "train"

    def test_a_model_without_figures_is_estimated(self):
        project = make_project()
        make_finished_round(project)
        assert step(project).kind == "estimate"

    def test_figures_of_another_pool_are_estimated_again(self):
        project = make_project()
        make_estimate(make_finished_round(project))
        Item.objects.filter(project=project, ordinal=3).update(withdrawn_at=timezone.now())
        assert step(project).kind == "estimate"

    def test_with_figures_it_is_to_draw_the_next_round(self):
        project = make_project()
        make_estimate(make_finished_round(project))
        assert step(project).kind == "draw"
        assert step(project).counts["round"] == 2
        assert "or export" in step(project).sentence

    def test_it_says_that_this_state_is_exported(self):
        project = make_project()
        make_estimate(version := make_finished_round(project))
        make_export(version)
        assert step(project).kind == "draw"
        assert step(project).sentence.startswith("Version 1 is exported.")

    def test_a_model_that_lost_to_the_champion_does_not_ask_for_estimates_for_ever(self):
        project = make_project()
        version = make_finished_round(project)
        make_estimate(version)
        loser = make_model(project, version=2, is_champion=False)
        project.model_versions.exclude(pk=loser.pk).update(is_champion=True)
        assert step(project).kind == "draw"

    def test_a_target_reached_at_a_look_is_exported(self):
        project = make_project(target_accuracy=0.9)
        version = make_finished_round(project)
        make_estimate(version)
        make_estimate(version, estimand="look", value=0.91, low=0.91, high=1.0)
        assert step(project).kind == "export"
        make_export(version)
        assert step(project).kind == "done"

    def test_a_look_at_an_earlier_version_is_void(self):
        project = make_project(target_accuracy=0.9)
        version = make_finished_round(project)
        make_estimate(version)
        before = make_version(project, version=version.version + 1, model=version.model)
        make_estimate(before, estimand="look", value=0.91, low=0.91, high=1.0)
        assert step(project).kind == "draw"

    def test_an_interval_above_the_target_is_no_look(self):
        project = make_project(target_accuracy=0.5)
        make_estimate(make_finished_round(project))
        assert step(project).kind == "draw"

    def test_when_every_item_was_drawn_it_is_to_export(self):
        project = make_project()
        make_estimate(make_finished_round(project, n=3, drawn=3))
        assert step(project).kind == "export"

    @pytest.mark.parametrize("state", ["queued", "running"])
    def test_while_something_runs_it_is_to_wait(self, state):
        project = make_project()
        make_finished_round(project)
        make_run(project, kind="estimate", state=state)
        assert step(project).kind == "wait"
        assert "Estimating" in step(project).sentence

    def test_its_text_is_the_sentence(self):
        assert str(step(make_project())) == "Import items: there is nothing to label yet."


class TestProgress:
    def test_it_counts_one_prompt_version_the_one_in_force(self):
        project = make_project()
        items = make_items(project)
        make_silver(project, items)
        make_silver(project, items[:1], version=2, status="refusal")
        now = progress.progress(project)
        assert (now.n_silver, now.n_failed) == (4, 0)

    def test_money_is_what_the_ledger_settled_and_wrote_off(self):
        project = make_project()
        Budget.objects.filter(project=project, kind="machine").update(settled_micros=40, written_off_micros=10)
        Budget.objects.filter(project=project, kind="human").update(settled_micros=7, reserved_micros=5)
        now = progress.progress(project)
        assert (now.machine_micros, now.human_micros, now.spent) == (50, 7, 57)

    def test_of_equals_the_newest_is_in_force(self):
        project = make_project()
        items = make_items(project)
        make_silver(project, items)
        make_silver(project, items, version=2)
        make_silver(project, items[:3], version=3)
        assert prompts.current_prompt(project).version == 2

    def test_nothing_but_failures_takes_over_from_no_label(self):
        project = make_project()
        items = make_items(project)
        make_silver(project, items[:1])
        make_silver(project, items, version=2, status="refusal")
        now = progress.progress(project)
        assert (now.n_silver, now.n_failed) == (1, 0)
        assert prompts.current_prompt(project).version == 1

    def test_mostly_failures_takes_over_from_nothing_better(self):
        project = make_project()
        items = make_items(project)
        make_silver(project, items[:3])
        make_silver(project, items[:1], version=2)
        make_silver(project, items[1:], version=2, status="refusal")
        assert prompts.current_prompt(project).version == 1
        make_silver(project, items[:2], version=3)
        make_silver(project, items[2:], version=3, status="refusal")
        assert prompts.current_prompt(project).version == 3  # half of it are labels, and it covers more

    def test_failures_are_counted_as_failures(self):
        project = make_project()
        items = make_items(project)
        make_silver(project, items, status="out_of_set")
        now = progress.progress(project)
        assert (now.n_silver, now.n_failed) == (0, 4)

    def test_silver_of_withdrawn_items_is_not_counted(self):
        project = make_project()
        items = make_items(project)
        make_silver(project, items[:3])
        make_silver(project, items[3:], status="empty")
        Item.objects.filter(pk__in=[items[0].pk, items[3].pk]).update(withdrawn_at=timezone.now())
        now = progress.progress(project)
        assert (now.n_items, now.n_withdrawn, now.n_silver, now.n_failed) == (2, 2, 2, 0)

    def test_another_project_counts_for_itself(self):
        other = make_project()
        make_silver(other, make_items(other))
        now = progress.progress(make_project())
        assert (now.n_items, now.n_silver, now.spent) == (0, 0, 0)

    def test_its_queries_do_not_grow(self, django_assert_num_queries):
        project = make_project()
        items = make_items(project, 8)
        make_silver(project, items)
        make_round(project, items)
        with django_assert_num_queries(12):
            progress.progress(project)


class TestKnown:
    def test_of_a_round_the_last_figure_counts(self):
        project = make_project()
        first = make_finished_round(project)
        make_estimate(first, value=0.8)
        again = make_version(project, first.model, first.prompt, version=2)
        make_estimate(again, value=0.85)
        found = progress.known(project)
        assert found.version == again
        assert [row.value for row in found.history] == [0.85]

    def test_answers_since_are_counted_answers_only(self):
        project = make_project()
        item, skipped, late = make_items(project, 3)
        label = projects.current_schema(project).labels.get(name="yes")
        before = timezone.now()
        by = {"project": project, "annotator": owner_of(project), "revision": 1, "is_blind": True}
        Annotation.objects.create(item=item, label=label, idempotency_key="1", **by)
        Annotation.objects.create(item=skipped, skip_reason="unclear", idempotency_key="2", **by)
        Annotation.objects.create(item=late, label=label, idempotency_key="3", is_counted=False, **by)
        assert progress.answers_since(project, before) == 1
        assert progress.answers_since(project, timezone.now()) == 0


class TestAfterAChangeOfLabels:
    def change(self, project, *new):
        return label_changes.change(project=project, new=new, by=owner_of(project))

    def renamed(self, project):
        self.change(project, *(NextLabel(NewLabel(name.upper()), was=(name,)) for name in ("yes", "no", "maybe")))

    def retired(self, project):
        self.change(project, *(NextLabel(NewLabel(name), was=(name,)) for name in ("no", "maybe")))

    def give(self, item, name="yes"):
        label = projects.current_schema(item.project).labels.get(name=name)
        fields = {"rule": "one_trusted", "origin": "random", "is_blind": True}
        return Gold.objects.create(project=item.project, item=item, label=label, **fields)

    def test_void_gold_is_no_gold(self):
        project = make_project()
        self.give(make_items(project)[0])
        assert progress.progress(project).n_gold == 1
        self.retired(project)
        assert progress.progress(project).n_gold == 0

    def test_after_new_names_the_figures_are_made_again(self):
        project = make_project()
        make_estimate(make_finished_round(project))
        assert step(project).kind in ("draw", "export")
        self.renamed(project)
        assert step(project).kind == "estimate"

    def test_a_model_that_was_left_behind_is_trained_again(self):
        project = make_project()
        make_estimate(make_finished_round(project))
        self.retired(project)
        assert step(project).kind == "train"
        assert "labels were changed" in str(step(project))

    def test_void_gold_of_a_sample_is_asked_again_first(self):
        project = make_project()
        make_estimate(make_finished_round(project))
        self.give(project.items.get(ordinal=0))
        self.retired(project)
        assert step(project).kind == "draw"
        assert step(project).counts == {"round": 2, "n": 1}

    def test_a_round_has_figures_under_both_labels(self):
        project = make_project()
        first = make_finished_round(project)
        make_estimate(first, value=0.8)
        self.renamed(project)
        make_estimate(make_version(project, first.model, first.prompt, version=2), value=0.85)
        assert [row.value for row in progress.known(project).history] == [0.8, 0.85]
