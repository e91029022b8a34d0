"""Figures over real rows, against the same figures counted by hand."""

import pytest

from annotate import items, rounds
from annotate.imports import ingest
from annotate.learning import delivery, estimation, training
from annotate.models import Draw, Estimate, Gold, Prediction, QueueEntry
from annotate.models.project import Arm
from annotate.silver import prompts
from models_ml.intervals import hypergeometric_interval
from tests.factories import answer_round, make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db
KIND = Estimate.Estimand


@pytest.fixture
def labeled(tmp_path):
    """120 items whose truth is "yes"; a machine that says "no" to every fourth and nothing to every tenth."""

    def silver(i):
        return None if i % 10 == 9 else "no" if i % 4 == 0 else "yes"

    project = make_project()
    rows = [{**row, "machine": silver(i)} for i, row in enumerate(rows_of(120))]
    path = write_jsonl(tmp_path / "items.jsonl", rows)
    ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="machine")
    return project


def play_round(project, batch=60, leave=0):
    rounds.draw_round(project=project, batch=batch, by=owner_of(project))
    answer_round(project, "yes", leave=leave)
    return rounds.close_round(project=project, by=owner_of(project), force=bool(leave))


def figure(project, estimand):
    rows = estimation.estimate(project=project, by=owner_of(project))
    return next(row for row in rows if row.estimand == estimand and row.label is None)


def audited(project):
    return set(Draw.objects.filter(project=project, arm=Arm.AUDIT).values_list("item_id", flat=True))


def in_a(project):
    return set(Draw.objects.filter(project=project).exclude(arm=Arm.AUDIT).values_list("item_id", flat=True))


class TestLLM:
    def test_it_is_k_of_n_with_failures_wrong(self, labeled):
        play_round(labeled)
        right = Prediction.objects.filter(item__in=audited(labeled), label_index=0).count()
        row = figure(labeled, KIND.LLM)
        assert (row.value, row.n, row.population) == (right / 12, 12, 120)
        assert (row.low, row.high) == hypergeometric_interval(right, 12, 120)  # few errors: exact

    def test_without_silver_it_says_why(self, tmp_path):
        project = make_project()
        path = write_jsonl(tmp_path / "items.jsonl", rows_of(60))
        ingest.import_items(project=project, path=path, by=owner_of(project))
        play_round(project, batch=20)
        row = figure(project, KIND.LLM)
        assert (row.value, row.reason) == (None, "nothing is pre-labeled")


class TestDelivered:
    def test_it_is_gold_plus_the_share_right_outside_a(self, labeled):
        play_round(labeled)
        frozen = delivery.current(project=labeled, by=owner_of(labeled))
        outside = audited(labeled) - in_a(labeled)
        machine = dict(
            zip(labeled.items.order_by("ordinal").values_list("id", flat=True), frozen.arrays["label"], strict=True)
        )
        m, k = len(outside), sum(machine[item] == 0 for item in outside)
        n_r = 120 - len(in_a(labeled))
        row = figure(labeled, KIND.DELIVERED)
        assert row.value == pytest.approx((120 - n_r + n_r * k / m + m - k) / 120)
        assert row.population == 120

    @pytest.mark.portable
    def test_unresolved_items_widen_it(self, labeled):
        play_round(labeled, leave=0)
        settled = figure(labeled, KIND.DELIVERED)
        item = Gold.objects.filter(origin=Arm.AUDIT).exclude(item__in=in_a(labeled)).first().item
        items.withdraw(project=labeled, public_ids=[item.public_id], by=owner_of(labeled))
        row = figure(labeled, KIND.DELIVERED)
        assert row.n_unresolved == 1
        assert row.high - row.low > settled.high - settled.low

    @pytest.mark.portable
    def test_items_of_a_without_gold_count_at_their_worst(self, labeled):
        play_round(labeled)
        settled = figure(labeled, KIND.DELIVERED)
        lost = Gold.objects.filter(origin=Arm.RANDOM).first()
        Gold.objects.filter(pk=lost.pk).update(is_current=False)  # as if its question had stayed open
        row = figure(labeled, KIND.DELIVERED)
        assert row.low < settled.low

    def test_before_any_audit_there_is_a_reason(self, labeled):
        row = figure(labeled, KIND.DELIVERED)
        assert (row.value, row.low, row.high) == (None, None, None)
        assert row.reason


class TestVersions:
    def test_nothing_new_is_the_same_version_with_the_same_figures(self, labeled):
        play_round(labeled)
        first = estimation.estimate(project=labeled, by=owner_of(labeled))
        again = estimation.estimate(project=labeled, by=owner_of(labeled))
        assert [row.pk for row in first] == [row.pk for row in again]

    @pytest.mark.portable
    @pytest.mark.parametrize("change", ["answer", "withdraw", "import", "train"])
    def test_whatever_changes_a_row_makes_a_new_version(self, labeled, change, tmp_path):
        play_round(labeled)
        olga = owner_of(labeled)
        before = delivery.current(project=labeled, by=olga).row
        if change == "answer":
            play_round(labeled, batch=5)
        elif change == "withdraw":
            undrawn = labeled.items.filter(draws__isnull=True).first()
            items.withdraw(project=labeled, public_ids=[undrawn.public_id], by=olga)
        elif change == "import":
            path = write_jsonl(tmp_path / "late.jsonl", rows_of(3, "late"))
            ingest.import_items(project=labeled, path=path, by=olga)
        else:
            training.train(project=labeled, by=olga)
        assert delivery.current(project=labeled, by=olga).row.version == before.version + 1


class TestModel:
    @pytest.mark.portable
    def test_it_is_measured_out_of_fold_and_on_new_data(self, labeled):
        play_round(labeled)
        training.train(project=labeled, by=owner_of(labeled))
        for estimand in (KIND.MODEL, KIND.MODEL_NEW_DATA):
            row = figure(labeled, estimand)
            assert row.low <= row.value <= row.high
        assert figure(labeled, KIND.MODEL_NEW_DATA).population is None

    def test_items_imported_after_the_training_are_predicted_too(self, labeled, tmp_path):
        play_round(labeled)
        training.train(project=labeled, by=owner_of(labeled))
        path = write_jsonl(tmp_path / "late.jsonl", rows_of(30, "late"))
        ingest.import_items(project=labeled, path=path, by=owner_of(labeled))
        frozen = delivery.current(project=labeled, by=owner_of(labeled))
        assert (frozen.arrays["model_label"] >= 0).all()


class TestLook:
    def test_it_comes_with_a_target_and_spends_one_look(self, labeled):
        labeled.target_accuracy, labeled.audit_target = 0.9, 12
        labeled.save()
        play_round(labeled)
        row = figure(labeled, KIND.LOOK)
        assert row.method == "exact one-sided, look 1 of 1"
        assert row.low < figure(labeled, KIND.DELIVERED).value

    @pytest.mark.portable
    def test_without_a_target_there_is_none(self, labeled):
        play_round(labeled)
        rows = estimation.estimate(project=labeled, by=owner_of(labeled))
        assert not [row for row in rows if row.estimand == KIND.LOOK]


@pytest.mark.portable
def test_a_pool_of_ten(tmp_path):
    project = make_project()
    rows = [{**row, "machine": "yes"} for row in rows_of(10)]
    path = write_jsonl(tmp_path / "items.jsonl", rows)
    ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="machine")
    for _ in range(4):
        try:
            play_round(project, batch=4)
        except rounds.Conflict:
            break
        training.train(project=project, by=owner_of(project))
        row = figure(project, KIND.DELIVERED)
        assert row.value is None or row.low <= row.value <= row.high
    assert not QueueEntry.objects.filter(state=QueueEntry.State.OPEN).exists()


class TestSilverInForce:
    def test_a_small_import_with_silver_does_not_take_over(self, labeled, tmp_path):
        rows = [{**row, "other": "no"} for row in rows_of(5, "late")]
        path = write_jsonl(tmp_path / "late.jsonl", rows)
        ingest.import_items(project=labeled, path=path, by=owner_of(labeled), silver_field="other")
        assert prompts.current_prompt(labeled).model == "machine"

    def test_items_never_asked_are_no_errors_of_the_llm(self, labeled, tmp_path):
        play_round(labeled)
        path = write_jsonl(tmp_path / "late.jsonl", rows_of(5, "late"))
        ingest.import_items(project=labeled, path=path, by=owner_of(labeled))
        row = figure(labeled, KIND.LLM)
        assert (row.value, row.reason) == (None, "5 items are not pre-labeled yet")
