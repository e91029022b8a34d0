"""Rounds, samples and marks over real rows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate import items, rounds, verification
from annotate.errors import Conflict, InvalidInput
from annotate.imports import ingest
from annotate.learning import pool
from annotate.models import Draw, Item, QueueEntry, Round
from annotate.models.project import Arm
from tests.factories import answer_round, make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


def import_rows(project, tmp_path, n, prefix="item"):
    path = write_jsonl(tmp_path / f"{prefix}.jsonl", rows_of(n, prefix))
    return ingest.import_items(project=project, path=path, by=owner_of(project))


def problems(project):
    found = {name: verification.first_problem(check, project) for name, check in verification.CHECKS.items()}
    return {name: problem for name, problem in found.items() if problem}


class TestWhyNothingIsAsked:
    def test_each_reason_why_nothing_is_asked_can_be_translated(self, tmp_path, monkeypatch):
        monkeypatch.setattr(rounds, "_", lambda text: f"⟦{text}⟧")
        project = make_project()
        owner = owner_of(project)
        with pytest.raises(Conflict, match="^⟦.*no items yet.*⟧$"):
            rounds.draw_round(project=project, by=owner)
        import_rows(project, tmp_path, 2)  # a third of two holds no sample
        with pytest.raises(Conflict, match="^⟦.*nothing says what else to ask.*⟧$"):
            rounds.draw_round(project=project, by=owner)


class TestFirstRound:
    def test_it_is_four_fifths_reference_and_one_fifth_audit(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        current = rounds.draw_round(project=project, batch=10, by=owner_of(project))
        arms = list(current.draws.values_list("arm", flat=True))
        assert (arms.count(Arm.RANDOM), arms.count(Arm.AUDIT)) == (8, 2)

    def test_it_takes_the_ends_of_u(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        current = rounds.draw_round(project=project, batch=10, by=owner_of(project))
        by_u = list(Item.objects.filter(project=project).order_by("prn").values_list("id", flat=True))
        drawn = {arm: set(current.draws.filter(arm=arm).values_list("item_id", flat=True)) for arm in Arm.values}
        assert drawn[Arm.AUDIT] == set(by_u[:2])
        assert drawn[Arm.RANDOM] == set(by_u[-8:])

    def test_every_question_is_blind(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        current = rounds.draw_round(project=project, batch=10, by=owner_of(project))
        assert not current.queue.filter(is_blind=False).exists()

    def test_the_marks_move_only_when_it_closes(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        rounds.draw_round(project=project, batch=10, by=owner_of(project))
        project.refresh_from_db()
        assert project.audit_cutoff is None
        answer_round(project)
        rounds.close_round(project=project, by=owner_of(project))
        project.refresh_from_db()
        assert project.audit_cutoff == sorted(project.items.values_list("prn", flat=True))[1]

    def test_samples_take_at_most_a_third_each(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 10)
        current = rounds.draw_round(project=project, batch=10, by=owner_of(project))
        assert current.draws.filter(arm=Arm.RANDOM).count() == 3


class TestRefusals:
    def test_one_open_round_at_a_time(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        rounds.draw_round(project=project, batch=10, by=owner_of(project))
        with pytest.raises(Conflict, match="open round"):
            rounds.draw_round(project=project, batch=10, by=owner_of(project))

    def test_an_empty_project_says_what_to_do(self):
        project = make_project()
        with pytest.raises(Conflict, match="import some first"):
            rounds.draw_round(project=project, batch=10, by=owner_of(project))
        assert not project.rounds.exists()

    def test_a_batch_of_nothing(self):
        project = make_project()
        with pytest.raises(InvalidInput, match="at least one question"):
            rounds.draw_round(project=project, batch=0, by=owner_of(project))

    def test_open_questions_hold_a_round_open(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        rounds.draw_round(project=project, batch=10, by=owner_of(project))
        with pytest.raises(Conflict, match="10 questions"):
            rounds.close_round(project=project, by=owner_of(project))


class TestForcedClose:
    def test_open_audit_items_stay_in_the_sample_unresolved_and_are_asked_again(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        first = rounds.draw_round(project=project, batch=10, by=owner_of(project))
        audited = set(first.draws.filter(arm=Arm.AUDIT).values_list("item_id", flat=True))
        rounds.close_round(project=project, by=owner_of(project), force=True)
        assert set(first.queue.values_list("state", flat=True)) == {QueueEntry.State.UNRESOLVED}
        second = rounds.draw_round(project=project, batch=10, by=owner_of(project))
        assert audited <= set(second.queue.values_list("item_id", flat=True))
        assert problems(project) == {}


class TestLateImports:
    def test_items_behind_a_mark_join_the_sample_at_once(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        rounds.draw_round(project=project, batch=40, by=owner_of(project))
        answer_round(project)
        rounds.close_round(project=project, by=owner_of(project))
        import_rows(project, tmp_path, 60, prefix="late")
        project.refresh_from_db()
        behind = set(project.items.filter(prn__lte=project.audit_cutoff).values_list("id", flat=True))
        in_audit = Draw.objects.filter(project=project, arm=Arm.AUDIT).values_list("item_id", flat=True)
        assert set(in_audit) == behind
        assert Draw.objects.filter(project=project, round__isnull=True).exists()
        assert problems(project) == {}

    def test_a_late_item_in_an_open_rounds_stretch_joins_when_it_closes(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        rounds.draw_round(project=project, batch=40, by=owner_of(project))
        import_rows(project, tmp_path, 60, prefix="late")
        answer_round(project)
        rounds.close_round(project=project, by=owner_of(project))
        assert problems(project) == {}


class TestWithdrawal:
    def test_a_single_audited_item_stays_in_the_population_unresolved(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        first = rounds.draw_round(project=project, batch=10, by=owner_of(project))
        answer_round(project)
        rounds.close_round(project=project, by=owner_of(project))
        item = first.draws.filter(arm=Arm.AUDIT).first().item
        items.withdraw(project=project, public_ids=[item.public_id], by=owner_of(project))
        assert len(pool.load(project)) == 59
        population = pool.load(project, with_withdrawn_audit=True)
        assert len(population) == 60
        assert population.is_withdrawn.sum() == 1

    def test_an_item_outside_the_audit_leaves(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        rounds.draw_round(project=project, batch=10, by=owner_of(project))
        answer_round(project)
        rounds.close_round(project=project, by=owner_of(project))
        undrawn = project.items.exclude(draws__isnull=False).first()
        items.withdraw(project=project, public_ids=[undrawn.public_id], by=owner_of(project))
        assert len(pool.load(project, with_withdrawn_audit=True)) == 59

    def test_a_wholly_withdrawn_import_leaves_sample_and_population(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        import_rows(project, tmp_path, 20, prefix="second")
        rounds.draw_round(project=project, batch=30, by=owner_of(project))
        answer_round(project)
        rounds.close_round(project=project, by=owner_of(project))
        second = [f"second-{i}" for i in range(20)]
        items.withdraw(project=project, external_ids=second, by=owner_of(project))
        assert len(pool.load(project, with_withdrawn_audit=True)) == 60


@pytest.mark.portable
@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 25), min_size=1, max_size=3),
    batches=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    withdrawn=st.integers(0, 3),
    force=st.booleans(),
)
def test_samples_stay_complete_prefixes_whatever_happens(sizes, batches, withdrawn, force, tmp_path_factory):
    """Imports, rounds, withdrawals and forced closes in any mix: `verify` holds and the marks only grow."""
    folder = tmp_path_factory.mktemp("rows")
    project = make_project()
    owner = owner_of(project)
    marks = []
    import_rows(project, folder, 12, prefix=f"first-{project.pk}")
    for step, batch in enumerate(batches):
        if step < len(sizes):
            import_rows(project, folder, sizes[step], prefix=f"part-{project.pk}-{step}")
        try:
            rounds.draw_round(project=project, batch=batch, by=owner)
        except Conflict:  # nothing is left to ask
            break
        answer_round(project, leave=2 if force else 0)
        rounds.close_round(project=project, by=owner, force=force)
        project.refresh_from_db()
        marks.append((project.audit_cutoff, project.reference_cutoff))
        ids = list(project.items.filter(withdrawn_at__isnull=True).values_list("public_id", flat=True)[:withdrawn])
        if ids:
            items.withdraw(project=project, public_ids=ids, by=owner)
        assert problems(project) == {}
    audit = [mark for mark, _ in marks if mark is not None]
    reference = [mark for _, mark in marks if mark is not None]
    assert audit == sorted(audit)
    assert reference == sorted(reference, reverse=True)
    assert not Round.objects.filter(project=project, state=Round.State.OPEN).exists()


class TestWithdrawalInAnOpenRound:
    def test_its_question_is_closed_and_does_not_hold_the_round_open(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        current = rounds.draw_round(project=project, batch=10, by=owner_of(project))
        entry = current.queue.first()
        items.withdraw(project=project, public_ids=[entry.item.public_id], by=owner_of(project))
        assert answer_round(project) == 9
        rounds.close_round(project=project, by=owner_of(project))
        assert problems(project) == {}
