"""`verify` is trusted because each of its checks has been seen to fail."""

import pytest
from django.db.models import F

from annotate import delivery, ingest, sampling, training, verification
from annotate.models import Annotation, DeliveredVersion, Draw, Gold, Item, ItemPayload, Project, QueueEntry, Run
from annotate.models.base import database_now
from annotate.models.project import Arm
from models_ml import checkpoints
from tests.factories import answer_round, make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(tmp_path):
    """One closed round of ten."""
    project = make_project()
    path = write_jsonl(tmp_path / "items.jsonl", rows_of(60))
    ingest.import_items(project=project, path=path, by=owner_of(project))
    sampling.draw_round(project=project, batch=10, by=owner_of(project))
    answer_round(project)
    sampling.close_round(project=project, by=owner_of(project))
    return project


def problem(project, name):
    return verification.first_problem(verification.CHECKS[name], project)


def test_an_untouched_project_has_none(project):
    assert [name for name in verification.CHECKS if problem(project, name)] == []


NUMBERS = "random numbers and folds follow from the key"
SAMPLES = "samples are complete up to their marks"


class TestNumbers:
    def test_it_sees_another_key(self, project):
        Project.objects.filter(pk=project.pk).update(key=b"x" * 32)
        assert "not the one that was committed" in problem(project, NUMBERS)

    def test_it_sees_a_bent_u(self, project):
        item = project.items.first()
        Item.objects.filter(pk=item.pk).update(u=0.5)
        assert item.public_id in problem(project, NUMBERS)

    def test_it_sees_a_moved_fold(self, project):
        item = project.items.first()
        Item.objects.filter(pk=item.pk).update(fold=(item.fold + 1) % 5)
        assert "fold" in problem(project, NUMBERS)

    def test_it_sees_a_changed_content(self, project):
        item = project.items.first()
        ItemPayload.objects.filter(pk=item.pk).update(payload={"text": "something else"})
        assert "content" in problem(project, NUMBERS)


class TestSamples:
    def test_it_sees_an_audited_item_left_out(self, project):
        Draw.objects.filter(project=project, arm=Arm.AUDIT).first().delete()
        assert "is not in the sample" in problem(project, SAMPLES)

    def test_it_sees_an_item_smuggled_in(self, project):
        outside = project.items.filter(draws__isnull=True).first()
        Draw.objects.create(project=project, item=outside, arm=Arm.AUDIT, reason="chosen by hand")
        assert "beyond its mark" in problem(project, SAMPLES)

    def test_it_sees_a_mark_that_moved_back(self, project):
        sampling.draw_round(project=project, batch=10, by=owner_of(project))
        answer_round(project)
        closed = sampling.close_round(project=project, by=owner_of(project))
        type(closed).objects.filter(pk=closed.pk).update(audit_mark=0.0)
        assert "moved back" in problem(project, SAMPLES)


class TestAnswers:
    def test_it_sees_a_wrong_counter(self, project):
        QueueEntry.objects.filter(round__project=project).update(n_taken=0)
        assert "counts 0 taken" in problem(project, "answers stay within the overlap")

    def test_it_sees_an_answer_without_a_current_revision(self, project):
        Annotation.objects.filter(project=project).update(is_current=False)
        assert "0 current answers" in problem(project, "one current answer per person and item")

    def test_it_sees_gold_that_nobody_gave(self, project):
        gold = Gold.objects.current().first()
        other = gold.label.schema.labels.exclude(pk=gold.label_id).first()
        Gold.objects.filter(pk=gold.pk).update(label=other)
        assert "nobody answered" in problem(project, "gold stands in answers")


class TestTraining:
    def test_it_sees_audit_gold_in_a_snapshot(self, project, monkeypatch):
        owner = owner_of(project)
        audited = Gold.objects.filter(origin=Arm.AUDIT)
        audited.update(origin=Arm.ACTIVE)  # a bug that lets audit gold through ...
        model = training.train(project=project, by=owner)
        Gold.objects.filter(origin=Arm.ACTIVE).update(origin=Arm.AUDIT)  # ... and is found afterwards
        assert f"{model} trained on gold" in problem(project, "audit gold never trains")

    def test_it_sees_a_damaged_file(self, project):
        model = training.train(project=project, by=owner_of(project))
        from annotate import files

        path = files.path_of(model.artefact_file)
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
        assert "checksum" in problem(project, "files have their checksums")

    def test_it_sees_a_model_that_cannot_be_made_again(self, project):
        model = training.train(project=project, by=owner_of(project))
        assert verification.rebuild_problem(model) is None
        model.config = {**model.config, "l2": [123.0]}
        assert "made again" in verification.rebuild_problem(model)

    def test_it_sees_a_frozen_file_of_another_pool(self, project):
        frozen = delivery.current(project=project, by=owner_of(project))
        DeliveredVersion.objects.filter(pk=frozen.row.pk).update(n_pool=F("n_pool") + 1)
        assert "does not hold its" in problem(project, "files have their checksums")


class TestRunsAndCounters:
    def test_it_sees_a_run_that_never_ended(self, project):
        now = database_now()
        Run.objects.create(
            project=project, kind="train", host="gone", pid=1, lease_until=now.replace(year=2020), heartbeat_at=now
        )
        assert "no sign of life" in problem(project, "every run ends")

    def test_it_sees_a_lost_item(self, project):
        project.items.filter(draws__isnull=True).last().delete()
        assert problem(project, "counters equal a recount")


def test_snapshots_hold_no_pickle(project):
    model = training.train(project=project, by=owner_of(project))
    from annotate import files

    arrays, facts = checkpoints.load_checkpoint(files.path_of(model.snapshot_file))
    assert set(arrays) == {"ordinal", "fold", "silver", "gold", "reference"}
    assert facts["n_classes"] == 3
