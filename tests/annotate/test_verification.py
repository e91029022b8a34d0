"""`verify` is trusted because each of its checks has been seen to fail."""

from dataclasses import replace

import pytest
from django.db.models import F

from annotate import files, label_changes, rounds, verification
from annotate.dataset import export
from annotate.imports import ingest, uploads
from annotate.label_changes import NextLabel
from annotate.learning import delivery, training
from annotate.models import (
    Annotation,
    Budget,
    DeliveredVersion,
    Draw,
    Gold,
    Item,
    ItemPayload,
    LabelSchema,
    Lease,
    LedgerEntry,
    Project,
    QueueEntry,
    Run,
)
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.models.project import Arm
from annotate.money import budgets, ledger
from annotate.projects import NewLabel
from annotate.silver import connections
from models_ml import checkpoints
from tests.annotate.asking import answer
from tests.factories import answer_round, make_member, make_project, make_user, owner_of, rows_of, write_jsonl
from tests.rows import make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(tmp_path):
    """One closed round of ten."""
    project = make_project()
    path = write_jsonl(tmp_path / "items.jsonl", rows_of(60))
    ingest.import_items(project=project, path=path, by=owner_of(project))
    rounds.draw_round(project=project, batch=10, by=owner_of(project))
    answer_round(project)
    rounds.close_round(project=project, by=owner_of(project))
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
        Item.objects.filter(pk=item.pk).update(prn=0.5)
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
        rounds.draw_round(project=project, batch=10, by=owner_of(project))
        answer_round(project)
        closed = rounds.close_round(project=project, by=owner_of(project))
        type(closed).objects.filter(pk=closed.pk).update(audit_cutoff=0.0)
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


class TestLeases:
    def test_it_sees_a_lease_that_outlived_its_round(self, project):
        Lease.objects.filter(entry__round__project=project).update(ended_at=None, outcome=None)
        assert "its question is over" in problem(project, "leases end with their round")

    def test_it_sees_a_late_answer_that_counts(self, project):
        Lease.objects.filter(entry__round__project=project).update(outcome=Lease.Outcome.EXPIRED)
        assert "had no lease" in problem(project, "counted answers had a lease")

    def test_it_sees_a_gap_between_revisions(self, project):
        Annotation.objects.filter(pk=Annotation.objects.first().pk).update(revision=3)
        assert "the last is number 3" in problem(project, "one current answer per person and item")

    def test_it_sees_a_blind_question_in_sight(self, project):
        Annotation.objects.filter(project=project).update(suggestion="revealed")
        assert "in sight" in problem(project, "blind questions show nothing")
        QueueEntry.objects.filter(round__project=project).update(suggestion="shown")
        assert "is not hidden" in problem(project, "blind questions show nothing")


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
        path = files.path_of(model.artefact_file)
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
        assert "checksum" in problem(project, "files have their checksums")

    def test_it_sees_a_damaged_upload_until_it_is_discarded(self, project):
        owner = owner_of(project)
        sent = uploads.receive(project=project, by=owner, file_name="a.csv", chunks=[b"text\na\n"])
        assert problem(project, "files have their checksums") is None
        files.path_of(sent.file).write_bytes(b"text\nb\n")
        assert "checksum" in problem(project, "files have their checksums")
        uploads.discard(upload=sent, by=owner)
        assert problem(project, "files have their checksums") is None

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
        lost = {"host": "gone", "pid": 1, "lease_until": now.replace(year=2020), "heartbeat_at": now}
        Run.objects.create(project=project, kind="train", state=Run.State.RUNNING, **lost)
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


class TestSamplesCannotBeBent:
    """What a sceptic tried, each once with success."""

    def test_gold_for_known_items_is_refused_once_rounds_were_drawn(self, project, tmp_path):
        audited = Draw.objects.filter(project=project, arm=Arm.AUDIT).values("item")
        texts = ItemPayload.objects.filter(item__in=audited).values_list("payload", flat=True)
        rows = [{"text": payload["text"], "g": "no"} for payload in texts]
        path = write_jsonl(tmp_path / "gold.jsonl", rows)
        done = ingest.import_items(project=project, path=path, by=owner_of(project), gold_field="g")
        assert done.n_rejected == len(rows)
        assert "gold comes from people" in done.rejected_rows.first().reason
        assert not Gold.objects.filter(origin=Arm.IMPORTED).exists()

    def test_new_items_may_still_come_with_gold(self, project, tmp_path):
        rows = [{**row, "g": "no"} for row in rows_of(20, "late")]
        path = write_jsonl(tmp_path / "gold.jsonl", rows)
        ingest.import_items(project=project, path=path, by=owner_of(project), gold_field="g")
        assert Gold.objects.filter(origin=Arm.IMPORTED).count() == 20
        assert [name for name in verification.CHECKS if problem(project, name)] == []

    def test_audit_gold_renamed_is_found_by_its_draw(self, project):
        Gold.objects.filter(origin=Arm.AUDIT).update(origin=Arm.RANDOM)
        assert "given after the audit" in problem(project, "gold on audited items came before the audit")

    def test_a_changed_figure_is_found(self, project):
        from annotate.learning import estimation

        estimation.estimate(project=project, by=owner_of(project))
        name = "figures follow from the audit sample"
        assert problem(project, name) is None
        project.estimates.filter(estimand="delivered").update(value=0.999, low=0.99, high=1.0, reason=None)
        assert "is not the one that its rows give" in problem(project, name)

    def test_wilsons_intervals_of_an_earlier_version_are_none(self, project):
        from annotate.learning import delivery, estimation

        estimation.estimate(project=project, by=owner_of(project))
        frozen = delivery.current(project=project, by=owner_of(project))
        audit = replace(estimation.load_audit(project, frozen), interval="wilson")
        figures = {row.estimand: row for row in estimation.figures(frozen.row, audit)}
        kept = project.estimates.get(estimand="delivered")
        assert (kept.low, kept.high) != (figures["delivered"].low, figures["delivered"].high)
        wilson = figures["delivered"]
        project.estimates.filter(pk=kept.pk).update(low=wilson.low, high=wilson.high, method="wilson")
        assert problem(project, "figures follow from the audit sample") is None

    def test_changed_vectors_are_found_and_not_trained_on(self, project):
        from annotate import vectors
        from annotate.errors import FileDamaged

        training.train(project=project, by=owner_of(project))
        path = files.path_of(vectors.name_of(project))
        path.write_bytes(b"\x00\x00\x00\x3f" + path.read_bytes()[4:])
        assert "stored vectors" in problem(project, "files have their checksums")
        with pytest.raises(FileDamaged, match="Delete"):
            training.train(project=project, by=owner_of(project))
        path.unlink()
        assert problem(project, "files have their checksums") is None

    def test_an_export_of_another_project_or_with_another_figure_is_found(self, project, tmp_path):
        olga = owner_of(project)
        manifest = export.export(delivered=delivery.current(project=project, by=olga).row, directory=tmp_path, by=olga)
        assert export.verify_origin(manifest, project) == []
        assert export.verify_origin(manifest, make_project())
        manifest.write_text(manifest.read_text().replace('"rows": 60', '"rows": 61'))
        assert export.verify_origin(manifest, project)


class TestExports:
    """Files among the exports are those of their rows, as long as nobody has cleared them away."""

    CHECK = "files have their checksums"

    @pytest.fixture
    def folder(self, project, settings, tmp_path):
        settings.VAR_DIR = tmp_path
        return self.export(project).parent

    def export(self, project, **options):
        olga = owner_of(project)
        return export.export(delivered=delivery.current(project=project, by=olga).row, by=olga, **options)

    def test_whole_files_are_well(self, project, folder):
        assert sorted(path.suffix for path in folder.iterdir()) == [".csv", ".json", ".jsonl"]
        assert problem(project, self.CHECK) is None

    @pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
    def test_it_sees_a_changed_file(self, project, folder, suffix):
        (path,) = (path for path in folder.iterdir() if path.suffix == suffix)
        path.write_bytes(path.read_bytes() + b"\n")
        assert f"{path.name} is not the one that was exported" in problem(project, self.CHECK)

    def test_it_sees_a_lost_file(self, project, folder):
        (path,) = folder.glob("*.csv")
        path.unlink()
        assert f"{path.name} is missing" in problem(project, self.CHECK)

    def test_an_export_that_was_cleared_away_is_well(self, project, folder):
        for path in [*folder.glob("*.csv"), *folder.glob("*.json")]:
            path.unlink()
        assert problem(project, self.CHECK) is None

    def test_the_last_export_of_a_version_counts(self, project, folder):
        rounds.draw_round(project=project, batch=5, by=owner_of(project))  # other rows, the same version
        (path,) = folder.glob("*.jsonl")
        before = path.read_bytes()
        self.export(project, formats=["jsonl"])
        assert path.read_bytes() != before
        assert problem(project, self.CHECK) is None
        next(folder.glob("*.csv")).unlink()  # which only the first one speaks of
        assert problem(project, self.CHECK) is None

    def test_files_elsewhere_belong_to_whoever_wanted_them(self, project, folder, tmp_path):
        self.export(project, directory=tmp_path / "own").unlink()
        assert problem(project, self.CHECK) is None


class TestMoney:
    @pytest.fixture
    def paid(self, project):
        """One attempt settled, one still reserved by a run at work."""
        budget = budgets.set_cap(project=project, kind="machine", cap_micros=100, by=owner_of(project))
        run = make_run(project, kind="prelabel", state="running")
        one, _two = ledger.reserve(budget, [ledger.Ask(10), ledger.Ask(20)], run=run)
        ledger.end(budget, [ledger.End(one, ledger.State.SETTLED, 7)])
        assert [name for name in verification.CHECKS if problem(project, name)] == []
        return project

    @pytest.mark.parametrize("field", ["reserved_micros", "settled_micros", "written_off_micros"])
    def test_it_sees_a_bent_sum(self, paid, field):
        Budget.objects.filter(project=paid, kind="machine").update(**{field: F(field) + 1})
        assert "its ledger says" in problem(paid, "money adds up")

    def test_it_sees_an_entry_that_is_gone(self, paid):
        LedgerEntry.objects.filter(state="settled").delete()
        assert "its ledger says" in problem(paid, "money adds up")

    def test_it_sees_what_a_finished_run_left_reserved(self, paid):
        Run.objects.filter(project=paid, kind="prelabel").update(state="errored", finished_at=database_now())
        assert "its run is over" in problem(paid, "each attempt to spend ends once")

    def test_it_sees_a_write_off_that_was_made_cheaper(self, paid):
        LedgerEntry.objects.filter(state="settled").update(state="written_off")
        assert "something else" in problem(paid, "each attempt to spend ends once")

    def test_it_sees_pay_that_is_in_no_ledger(self, paid):
        Annotation.objects.filter(pk=Annotation.objects.first().pk).update(price_micros=5)
        assert "were paid 5, but the ledger settled 0" in problem(paid, "people were paid what was settled")

    def test_it_sees_a_key_in_an_event(self, paid, settings, tmp_path):
        settings.VAR_DIR = tmp_path
        sara = make_user("Sara", is_site_owner=True)
        row = connections.create(name="S", base_url="https://x.example/v1", model="m", key="sk-canary-123456", by=sara)
        connections.lend(connection=row, project=paid, by=sara)
        assert problem(paid, "keys stay secret") is None
        record("careless", project=paid, by=sara, said="Bearer sk-canary-123456")
        assert "connection S" in problem(paid, "keys stay secret")


class TestChangedLabels:
    @pytest.fixture
    def changed(self, project):
        """The label of all gold was retired, so that neither sample is complete anywhere."""
        plan = [NextLabel(NewLabel(name), was=(name,)) for name in ("no", "maybe")]
        return label_changes.change(project=project, new=plan, by=owner_of(project))

    def test_it_has_no_problem(self, project, changed):
        assert [name for name in verification.CHECKS if problem(project, name)] == []

    @pytest.mark.parametrize("which", ["audit_cutoff", "reference_cutoff"])
    def test_a_cut_off_beyond_void_gold_is_found(self, project, changed, which):
        LabelSchema.objects.filter(pk=changed.pk).update(**{which: None})
        assert "is void" in problem(project, SAMPLES)

    def test_a_cut_off_where_nothing_is_void_is_found(self, project, changed):
        LabelSchema.objects.filter(pk=changed.pk).update(audit_cutoff=changed.audit_cutoff / 2)
        assert "no gold is void" in problem(project, SAMPLES)

    def test_gold_that_a_merge_settled_stands_in_the_answers_before(self, tmp_path):
        project = make_project(overlap=2, gold_rule="agree_k", agree_k=2)
        path = write_jsonl(tmp_path / "two.jsonl", rows_of(60, prefix="two"))
        ingest.import_items(project=project, path=path, by=owner_of(project))
        current = rounds.draw_round(project=project, batch=5, by=owner_of(project))
        entry = current.queue.first()
        answer(entry, owner_of(project), "yes")
        answer(entry, make_member(project), "no")
        plan = [NextLabel(NewLabel("either"), was=("yes", "no")), NextLabel(NewLabel("maybe"), was=("maybe",))]
        label_changes.change(project=project, new=plan, by=owner_of(project))
        name = "gold stands in answers"
        assert (Gold.objects.get().label.name, problem(project, name)) == ("either", None)
        Annotation.objects.filter(item=entry.item).update(is_counted=False)
        assert "nobody answered" in problem(project, name)
