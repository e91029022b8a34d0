"""What workers do: each kind of run on real text with the real encoder."""

import json
from pathlib import Path

import pytest
from django.conf import settings as project_settings
from django.db.models import F

from annotate import rounds, tasks
from annotate.dataset import export
from annotate.errors import Conflict, RunBusy, RunPaused
from annotate.imports import ingest
from annotate.models import Export, ModelVersion, Project, Round, Run
from annotate.models.project import Role
from annotate.runs import lifecycle
from annotate.silver import connections
from tests.factories import answer_round, make_member, make_project, make_user, owner_of, write_jsonl

DEMO = Path(project_settings.BASE_DIR) / "annotate" / "demo" / "banking77.jsonl"
pytestmark = pytest.mark.django_db


@pytest.fixture
def project(tmp_path, settings) -> Project:
    """Sixty real questions, not pre-labeled."""
    settings.VAR_DIR = tmp_path
    lines = DEMO.read_text(encoding="utf-8").splitlines()[:60]
    rows = [{"id": row["id"], "text": row["text"]} for row in map(json.loads, lines)]
    project = make_project(labels=("card", "transfer", "exchange"))
    ingest.import_items(project=project, path=write_jsonl(tmp_path / "items.jsonl", rows), by=owner_of(project))
    return project


def perform(project, kind, **parameters):
    """As a worker does, in this process."""
    tasks.enqueue(kind=kind, project=project, by=owner_of(project), parameters=parameters)
    run = lifecycle.claim_next()
    with lifecycle.taken_up(public_id=run.public_id, attempt=run.attempt) as attempt:
        tasks.perform(attempt)
    run.refresh_from_db()
    return run


def test_a_whole_round_is_one_run_for_each_thing_asked(project):
    assert perform(project, "prelabel").result["n_items"] == 60
    assert perform(project, "draw", batch=20).result == {"round": 1, "n_questions": 20}
    answer_round(project, label="card")
    assert perform(project, "close").result == {"round": 1, "n_gold": 20, "n_unresolved": 0}
    trained = perform(project, "train")
    assert (trained.step, trained.result["model"], trained.result["n_gold"]) == ("Estimating", 1, 16)
    assert set(trained.result["delivered"]) == {"value", "low", "high", "n", "reason"}
    exported = perform(project, "export").result
    manifest = Path(exported["folder"]) / exported["manifest"]
    assert export.verify_export(manifest) == []
    stem = f"{project.slug}-v{exported['version']}"
    assert [file["name"] for file in exported["files"]] == [f"{stem}.jsonl", f"{stem}.csv"]
    assert all((Path(exported["folder"]) / file["name"]).stat().st_size == file["bytes"] for file in exported["files"])
    assert list(Run.objects.order_by("pk").values_list("kind", "state")) == [
        ("import", "succeeded"),
        *((kind, "succeeded") for kind in ("prelabel", "draw", "close", "train", "export")),
    ]


def test_what_an_earlier_attempt_committed_is_not_done_again(project):
    """Killed between its effect and its end, a run finds what it made."""
    by = owner_of(project)
    for kind in ("draw", "close"):
        tasks.enqueue(
            kind=kind, project=project, by=by, parameters={"force": True} if kind == "close" else {"batch": 9}
        )
        run = lifecycle.claim_next()
        with lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
            tasks.perform(attempt)
        first = attempt.result
        Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING, finished_at=None, result={})
        with lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
            tasks.perform(attempt)
        assert attempt.result == first
    assert Round.objects.count() == 1


def test_training_is_not_repeated_either(project):
    perform(project, "prelabel")
    run = perform(project, "train")
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING, finished_at=None)
    with lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
        tasks.perform(attempt)
    assert ModelVersion.objects.count() == 1


def test_an_export_is_not_written_twice(project):
    rounds.draw_round(project=project, batch=5, by=owner_of(project))
    run = perform(project, "export", formats=["jsonl"])
    written = Path(run.result["folder"]) / run.result["manifest"]
    written.unlink()  # whoever wrote it again would bring it back
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING, finished_at=None, result={})
    with lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
        tasks.perform(attempt)
    assert attempt.result == run.result
    assert Export.objects.get().run == run
    assert not written.exists()


def test_an_export_has_the_figures_of_its_own_version_whatever_arrives_meanwhile(project, monkeypatch):
    """An LLM run, or people, may go on beside it."""
    step = lifecycle.Attempt.step

    def changing(attempt, name):
        Project.objects.filter(pk=project.pk).update(pool_revision=F("pool_revision") + 1)
        step(attempt, name)

    monkeypatch.setattr(lifecycle.Attempt, "step", changing)
    perform(project, "export", formats=["jsonl"])
    assert Export.objects.get().delivered_version.estimates.exists()
    assert project.delivered_versions.count() == 1


def test_what_a_run_made_says_so(project):
    drawn = perform(project, "draw", batch=5)
    answer_round(project, label="card")
    closed = perform(project, "close")
    trained = perform(project, "train")
    made = Round.objects.get()
    assert (made.run, made.closing_run, ModelVersion.objects.get().run) == (drawn, closed, trained)


def test_a_command_draws_in_a_run_and_closes_without_one(project):
    rounds.draw_round(project=project, batch=5, by=owner_of(project))
    made = rounds.close_round(project=project, by=owner_of(project), force=True)
    assert made.run == Run.objects.get(kind="draw")
    assert (made.run.performer, made.run.parameters, made.closing_run) == (Run.Performer.COMMAND, {}, None)


def test_an_expected_failure_is_a_sentence(project):
    with pytest.raises(Conflict):
        perform(project, "close")
    run = Run.objects.get(kind="close")
    assert (run.state, run.trace) == (Run.State.FAILED, "")
    assert "has no open round" in run.message


def test_whoever_asked_must_still_be_allowed_when_it_is_done(project):
    person = make_member(project, "Ravi", role=Role.ADMIN)
    run = tasks.enqueue(kind="draw", project=project, by=person, parameters={"batch": 5})
    project.members.filter(user=person).update(role=Role.VIEWER)
    lifecycle.claim_next()
    with pytest.raises(RunPaused), lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
        tasks.perform(attempt)
    assert not Round.objects.exists()
    run.refresh_from_db()
    assert (run.state, "Ravi, who started it, no longer manages" in run.message) == (Run.State.PAUSED, True)


@pytest.mark.parametrize("change", [{"role": Role.VIEWER}, None])
def test_who_leaves_while_their_run_works_leaves_it_to_whoever_resumes_it(project, monkeypatch, change):
    ravi = make_member(project, "Ravi", role=Role.ADMIN)
    run = tasks.enqueue(kind="draw", project=project, by=ravi, parameters={"batch": 5})
    theirs = project.members.filter(user=ravi)

    def leaves(attempt, by):  # the first thing that the work does
        theirs.update(**change) if change else theirs.delete()

    with monkeypatch.context() as while_it_works, pytest.raises(RunPaused):
        while_it_works.setattr(tasks, "_freeze", leaves)
        lifecycle.claim_next()
        with lifecycle.taken_up(public_id=run.public_id, attempt=1) as attempt:
            tasks.perform(attempt)
    run.refresh_from_db()
    assert (run.state, "Ravi, who started it, no longer manages" in run.message) == (Run.State.PAUSED, True)
    tasks.resume(run=run, by=owner_of(project))
    run.refresh_from_db()
    assert (run.state, run.started_by, run.message) == (Run.State.QUEUED, owner_of(project), "")


def test_an_estimate_without_a_model_says_why_there_is_no_figure(project):
    rounds.draw_round(project=project, batch=10, by=owner_of(project))
    assert perform(project, "estimate").result["delivered"]["value"] is None


class TestLanes:
    """Which lane a run needs is decided by its project as it is now."""

    @pytest.fixture
    def paid(self, project) -> Project:
        owner = make_user("Sara", is_site_owner=True)
        row = connections.create(
            name="Stub", base_url="http://127.0.0.1:9/v1", model="stub-1", allows_private=True, input_price_micros=0,
            output_price_micros=0, by=owner,
        )  # fmt: skip
        connections.lend(connection=row, project=project, by=owner)
        return connections.choose(project=project, connection=row, by=owner_of(project))

    def test_asking_a_server_does_not_wait_for_models(self, paid):
        run = tasks.enqueue(kind="prelabel", project=paid, by=owner_of(paid))
        assert run.queue == "llm" and lifecycle.claim_next(["io", "ml"]) is None

    def test_computing_here_does(self, project):
        assert tasks.enqueue(kind="prelabel", project=project, by=owner_of(project)).queue == "ml"
        assert {kind: tasks.queue_of(kind, project) for kind in ("import", "count", "close", "draw", "train")} == {
            "import": "io", "count": "io", "close": "io", "draw": "ml", "train": "ml",
        }  # fmt: skip

    def test_what_was_queued_before_an_upgrade_is_moved(self, paid):
        run = tasks.enqueue(kind="prelabel", project=paid, by=owner_of(paid))
        Run.objects.filter(pk=run.pk).update(queue="ml")  # as the version before had it
        tasks.sweep()
        assert lifecycle.claim_next(["llm"]) == run

    def test_a_run_that_is_resumed_goes_where_it_belongs_now(self, paid):
        by = owner_of(paid)
        run = tasks.enqueue(kind="prelabel", project=paid, by=by)
        lifecycle.pause(run=run, by=by)
        connections.choose_lent(project=paid, public_id="", by=by)
        assert tasks.resume(run=Run.objects.get(pk=run.pk), by=by).queue == "ml"

    def test_a_pre_label_that_its_command_paused_is_continued_by_starting_it(self, paid):
        """The row of such a run holds all that a worker needs to know."""
        by = owner_of(paid)
        with pytest.raises(RunPaused), lifecycle.start(kind="prelabel", project=paid, by=by):
            raise RunPaused("No cap is set.")
        run = tasks.enqueue(kind="prelabel", project=paid, by=by)
        assert (run.state, run.performer, run.queue) == (Run.State.QUEUED, Run.Performer.WORKER, "llm")
        assert Run.objects.filter(kind="prelabel").count() == 1

    def test_another_kind_is_not(self, project):
        by = owner_of(project)
        with pytest.raises(RunPaused), lifecycle.start(kind="draw", project=project, by=by):
            raise RunPaused("Paused.")
        with pytest.raises(RunBusy, match="resume or cancel it first"):
            tasks.enqueue(kind="draw", project=project, by=by)
