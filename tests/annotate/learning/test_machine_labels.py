"""The stack in a delivered version: which gold it saw, and that its labels can be made again."""

import numpy as np
import pytest

from annotate import rounds, verification
from annotate.imports import ingest
from annotate.learning import delivery, estimation, machine_labels, training
from annotate.models import Gold
from annotate.models.project import Arm
from models_ml.label_combination import LabelCombination
from tests.factories import answer_round, make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db
NO_AUDIT_GOLD = "audit gold never trains"


@pytest.fixture(scope="module")
def project(rows_for_all, tmp_path_factory):
    """90 pre-labeled items, one closed round of 40 and a model: gold enough for a stack of three labels."""
    project = make_project()
    rows = [{**row, "machine": "no" if i % 3 == 0 else "yes"} for i, row in enumerate(rows_of(90))]
    path = write_jsonl(tmp_path_factory.mktemp("stack") / "items.jsonl", rows)
    ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="machine")
    rounds.draw_round(project=project, batch=40, by=owner_of(project))
    answer_round(project)
    rounds.close_round(project=project, by=owner_of(project))
    training.train(project=project, by=owner_of(project))
    return project


def freeze(project):
    return delivery.current(project=project, by=owner_of(project))


def problem(project):
    return verification.first_problem(verification.CHECKS[NO_AUDIT_GOLD], project)


def test_the_stack_saw_the_gold_that_trains_and_none_of_the_audit(project):
    frozen = freeze(project)
    saw = set(frozen.arrays["ordinal"][frozen.arrays["stack_gold"] >= 0].tolist())
    of_audit = Gold.objects.filter(project=project, origin=Arm.AUDIT)
    others = Gold.objects.filter(project=project).exclude(origin=Arm.AUDIT)
    assert saw == set(others.values_list("item__ordinal", flat=True))
    assert of_audit.exists()
    assert frozen.row.delivery["stack"]["n_gold"] == len(saw)
    assert problem(project) is None


def test_verify_sees_a_stack_that_saw_audit_gold(project):
    Gold.objects.filter(origin=Arm.AUDIT).update(origin=Arm.ACTIVE)  # a bug that lets audit gold through ...
    row = freeze(project).row
    audited = project.draws.filter(arm=Arm.AUDIT).values("item")
    Gold.objects.filter(item__in=audited).update(origin=Arm.AUDIT)  # ... and is found afterwards
    assert f"the stack of {row} saw gold" in problem(project)


def test_what_is_stored_suffices_to_make_the_labels_again(project):
    frozen = freeze(project)
    row = frozen.row
    assert row.rule == row.delivery["chooser"]
    assert verification.refreeze_problem(row) is None
    assert np.array_equal(frozen.arrays["label"], frozen.arrays["posterior"].argmax(axis=1))
    assert delivery.load(row).arrays["stack"].tobytes() == frozen.arrays["stack"].tobytes()


@pytest.mark.parametrize(("name", "change"), [("stack", 0.1), ("posterior", 0.1), ("label", 1), ("stack_gold", 1)])
def test_a_version_that_cannot_be_made_again_is_found(project, monkeypatch, name, change):
    frozen = freeze(project)
    bent = {**frozen.arrays, name: frozen.arrays[name] + frozen.arrays[name].dtype.type(change)}
    monkeypatch.setattr(delivery, "load", lambda row: delivery.Frozen(row, bent))
    assert verification.refreeze_problem(frozen.row) == f"made again, its {name} is another"


def test_a_version_frozen_before_there_was_a_stack_is_made_again_without_one(project, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(machine_labels, "fit_stack", lambda **_: None)
        row = freeze(project).row
    assert row.rule != "blend"
    assert not {"stack", "stack_weight"} & row.delivery.keys()
    assert verification.refreeze_problem(row) is None
    assert problem(project) is None
    assert LabelCombination.from_dict(row.delivery).to_dict() == {
        name: value for name, value in row.delivery.items() if name != "reference_cutoff"
    }


def test_figures_follow_from_the_labels_with_the_stack(project):
    estimation.estimate(project=project, by=owner_of(project))
    for name in ("figures follow from the audit sample", "figures were computed from the rows of their time"):
        assert verification.outcome(verification.CHECKS[name], project).is_ok


def test_without_gold_enough_there_is_no_stack(project):
    Gold.objects.filter(project=project).exclude(origin=Arm.AUDIT).filter(item__ordinal__gte=20).delete()
    frozen = freeze(project)
    assert "stack" not in frozen.row.delivery
    assert not {"stack", "stack_gold"} & frozen.arrays.keys()
    assert frozen.row.rule != "blend"
    assert verification.refreeze_problem(frozen.row) is None
