"""What figures were computed from is kept with them, and compared with the rows of that time."""

from dataclasses import replace
from datetime import timedelta
from importlib import import_module

import numpy as np
import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F

from annotate import items, rounds, verification
from annotate.errors import FileDamaged
from annotate.imports import ingest
from annotate.learning import audit as audits
from annotate.learning import delivery, estimation
from annotate.models import DeliveredVersion, Draw, EstimateInputs, Gold, Round
from annotate.verification import NotChecked
from tests.factories import answer_round, make_project, owner_of, rows_of, write_jsonl

pytestmark = [pytest.mark.django_db, pytest.mark.portable]
FIGURES = "figures follow from the audit sample"
INPUTS = "figures were computed from the rows of their time"


@pytest.fixture(scope="module")
def project(rows_for_all, tmp_path_factory):
    """Figures with a look after one round; another round since."""
    project = make_project(target_accuracy=0.9, audit_target=4)
    rows = [{**row, "machine": "no" if i % 4 == 0 else "yes"} for i, row in enumerate(rows_of(80))]
    path = write_jsonl(tmp_path_factory.mktemp("inputs") / "items.jsonl", rows)
    ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="machine")
    play(project, 40)
    for rows, field in ((Gold, "created_at"), (Draw, "created_at"), (Round, "closed_at")):
        rows.objects.filter(project=project).update(**{field: F(field) - timedelta(hours=1)})
    estimation.estimate(project=project, by=owner_of(project))
    play(project, 5)
    return project


def play(project, batch):
    rounds.draw_round(project=project, batch=batch, by=owner_of(project))
    answer_round(project)
    rounds.close_round(project=project, by=owner_of(project))


def found(project, name):
    return verification.outcome(verification.CHECKS[name], project)


def bend(**changes):
    """Keep other inputs instead, with their right checksum, as who may change the database could."""
    with connection.cursor() as cursor:
        for statement in import_module("annotate.migrations.0033_inputs_stay").UNDO[connection.vendor]:
            cursor.execute(statement)
    kept = EstimateInputs.objects.select_related("delivered_version").get()
    audit = audits.read(kept)
    sizes = replace(audit.sizes, **{name: value for name, value in changes.items() if hasattr(audit.sizes, name)})
    arrays = {name: value(audit).copy() for name, value in changes.items() if not hasattr(audit.sizes, name)}
    bent = audits.kept(replace(audit, sizes=sizes, **arrays), delivery.load(kept.delivered_version))
    EstimateInputs.objects.filter(pk=kept.pk).update(content=bent.content, sha256=bent.sha256)


def instead(array, place, value):
    other = array.copy()
    other[place] = value
    return other


def test_figures_of_an_earlier_version_are_computed_again(project):
    assert [found(project, name).is_ok for name in (FIGURES, INPUTS)] == [True, True]


@pytest.mark.parametrize(
    ("estimand", "fields"),
    [
        ("delivered", {"value": 0.999, "high": 1.0}),
        ("llm", {"n": 1_000}),
        ("llm", {"population": 8_000}),
        ("look", {"value": 0.99, "low": 0.99}),
    ],
)
def test_a_changed_figure_is_found_though_the_project_changed_since(project, estimand, fields):
    project.estimates.filter(estimand=estimand).update(**fields)
    assert f"the stored figure {estimand} of delivered v" in found(project, FIGURES).problems[0]


def test_a_figure_that_is_gone_is_found(project):
    project.estimates.filter(estimand="look").delete()
    assert "the figure look of delivered v" in found(project, FIGURES).problems[0]


BENT = {
    "label of item": {"machine": lambda a: instead(a.machine, 0, 1 - a.machine[0])},
    "in_a of item": {"in_a": lambda a: ~a.in_a},
    "another answer of the LLM": {"silver": lambda a: instead(a.silver, 0, 1 - a.silver[0])},
    "another gold label": {"gold": lambda a: instead(a.gold, 0, 1)},
    "as unresolved, and it had blind gold": {
        "gold": lambda a: instead(a.gold, 0, -1), "gold_row": lambda a: instead(a.gold_row, 0, -1),
    },
    "gold that was not there": {"gold_row": lambda a: instead(a.gold_row, 0, 10**9)},
    "by other sizes": {"n_of_part": lambda a: a.n_of_part + 1},
    "speak of 81 items": {"n_items": 81},
    "machine's labels otherwise": {"n_machine": lambda a: a.n_machine[::-1]},
    "items of A without gold": {"n_in_a_without_gold": 30},
    "looks at the target before": {"n_looks": 3},
    "which the project does not have": {"ordinal": lambda a: instead(a.ordinal, -1, 900)},
}  # fmt: skip


@pytest.mark.parametrize(("sentence", "changes"), BENT.items(), ids=list(BENT))
def test_inputs_that_the_rows_do_not_bear_out_are_found(project, sentence, changes):
    with transaction.atomic():
        bend(**changes)
        problems = found(project, INPUTS).problems
        assert any(sentence in problem for problem in problems), problems
        transaction.set_rollback(True)


def test_an_audited_item_that_was_left_out_is_found(project):
    with transaction.atomic():
        columns = ("ordinal", "part", "in_a", "is_withdrawn", "gold", "gold_row", "silver", "model", "machine")
        bend(**{name: lambda a, name=name: getattr(a, name)[1:] for name in (*columns, "new_data")})
        assert "which the audit had drawn" in found(project, INPUTS).problems[0]
        transaction.set_rollback(True)


def test_gold_that_turned_seen_or_was_deleted_is_found(project):
    counted = audits.read(EstimateInputs.objects.get()).gold_row[0]
    Gold.objects.filter(pk=counted).update(is_blind=False)
    assert "gold that was not blind" in found(project, INPUTS).problems[0]
    Gold.objects.filter(pk=counted).delete()
    assert "gold that was not there" in found(project, INPUTS).problems[0]


def test_gold_that_was_taken_back_later_is_no_problem(project):
    """As after a changed answer: nobody knows when it ended, and it was there."""
    counted = audits.read(EstimateInputs.objects.get()).gold_row[0]
    Gold.objects.filter(pk=counted).update(is_current=False)
    assert found(project, INPUTS).is_ok


def test_an_item_withdrawn_later_is_no_problem(project):
    audited = Gold.objects.get(pk=audits.read(EstimateInputs.objects.get()).gold_row[0]).item
    items.withdraw(project=project, public_ids=[audited.public_id], by=owner_of(project))
    assert [found(project, name).problems for name in (FIGURES, INPUTS)] == [[], []]
    estimation.estimate(project=project, by=owner_of(project))  # counts it as unresolved
    assert [found(project, name).problems for name in (FIGURES, INPUTS)] == [[], []]


def test_figures_without_inputs_are_not_checked(project):
    EstimateInputs.objects.all().delete()
    reasons = found(project, FIGURES).not_checked
    assert [type(one) for one in reasons] == [NotChecked]
    assert "stored before their inputs were kept" in reasons[0].reason
    assert not found(project, INPUTS).is_ok


def test_inputs_are_never_updated(project):
    with pytest.raises(DatabaseError, match="never change"), transaction.atomic():
        EstimateInputs.objects.update(sha256="0" * 64)


def test_inputs_read_as_they_were_kept(project):
    frozen = delivery.load(DeliveredVersion.objects.filter(estimates__isnull=False).distinct().get())
    audit = audits.read(EstimateInputs.objects.get())
    again = audits.read(audits.kept(audit, frozen))
    assert again.sizes == audit.sizes
    assert all(np.array_equal(one, other) for one, other in zip(columns(again), columns(audit), strict=True))
    damaged = EstimateInputs.objects.select_related("delivered_version").get()
    damaged.content = bytes(damaged.content)[:-1] + b"\x07"
    with pytest.raises(FileDamaged, match="checksum"):
        audits.read(damaged)


def columns(audit):
    return [value for value in vars(audit).values() if isinstance(value, np.ndarray)]
