"""Rounds that ask everything, or the items of a list: the samples stay samples, and small rounds say why."""

import json

import pytest
from django.utils import translation
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate import items, rounds, tasks
from annotate.errors import Conflict, InvalidInput
from annotate.learning import delivery, estimation, pool
from annotate.models import Draw, Gold, Import, Item
from annotate.models.project import Arm
from annotate.reports import next_step, progress, round_sizes
from tests.annotate.asking import problems
from tests.annotate.test_rounds import import_rows
from tests.factories import answer_round, make_project, owner_of

pytestmark = pytest.mark.django_db


def draw(project, **wanted):
    return rounds.draw_round(project=project, by=owner_of(project), **wanted)


def close(project):
    answer_round(project)
    return rounds.close_round(project=project, by=owner_of(project))


def arms_of(current):
    return {arm: set(current.draws.filter(arm=arm).values_list("item_id", flat=True)) for arm in Arm.values}


def asked_of(current):
    return set(current.queue.values_list("item_id", flat=True))


@pytest.fixture
def small(tmp_path):
    project = make_project()
    import_rows(project, tmp_path, 11)
    return project


class TestEverything:
    def test_eleven_items_are_asked_at_once(self, small):
        current = draw(small, everything=True)
        drawn = arms_of(current)
        assert current.queue.count() == 11
        assert (len(drawn[Arm.AUDIT]), len(drawn[Arm.RANDOM]), len(drawn[Arm.ACTIVE])) == (2, 3, 8)
        assert drawn[Arm.AUDIT] <= drawn[Arm.ACTIVE]  # picked without a look at who is audited: they join A
        assert not drawn[Arm.RANDOM] & drawn[Arm.ACTIVE]
        picks = current.draws.filter(arm=Arm.ACTIVE).values_list("pi", "score", "reason").distinct()
        assert list(picks) == [(1.0, None, "everything was asked for")]

    def test_it_closes_with_a_figure_that_is_exact(self, small):
        draw(small, everything=True)
        close(small)
        owner = owner_of(small)
        rows = estimation.estimate(project=small, by=owner)
        row = next(row for row in rows if row.estimand == "delivered")
        assert (row.value, row.low, row.high, row.method) == (1.0, 1.0, 1.0, "census")
        assert Gold.objects.current().filter(project=small).values("item").distinct().count() == 11
        assert Gold.objects.current().filter(origin=Arm.AUDIT).count() == 2
        assert next_step.choose(small, progress.progress(small)).kind == "export"
        assert problems(small) == {}

    def test_what_people_gave_up_is_asked_again(self, small):
        first = draw(small, everything=True)
        answer_round(small, leave=3)
        rounds.close_round(project=small, by=owner_of(small), force=True)
        left = asked_of(first) - set(Gold.objects.current().values_list("item_id", flat=True))
        second = draw(small, everything=True)
        assert asked_of(second) == left
        close(small)
        assert Gold.objects.current().filter(project=small).values("item").distinct().count() == 11
        assert problems(small) == {}

    def test_with_all_gold_it_says_so(self, small):
        draw(small, everything=True)
        close(small)
        with pytest.raises(Conflict, match="All 11 items asked for have gold already"):
            draw(small, everything=True)

    def test_items_that_come_later_are_sampled_for_themselves(self, small, tmp_path):
        draw(small, everything=True)
        close(small)
        import_rows(small, tmp_path, 20, prefix="late")
        found = pool.load(small)
        in_a = pool.is_selected(found, small)
        behind = pool.drawn(found, small, Arm.AUDIT)
        small.refresh_from_db()
        assert (behind & ~in_a).tolist() == ((found.prn <= small.audit_cutoff) & ~in_a).tolist()
        assert problems(small) == {}

    def test_after_other_rounds_the_rest_is_asked(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 30)
        draw(project, batch=10)
        close(project)
        assert draw(project, everything=True).queue.count() == 20
        close(project)
        assert problems(project) == {}


class TestList:
    def test_the_named_are_asked_and_join_a(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        current = draw(project, names=[f"item-{n}" for n in range(5)])
        named = set(Item.objects.filter(external_id__in=[f"item-{n}" for n in range(5)]).values_list("id", flat=True))
        drawn = arms_of(current)
        assert named <= asked_of(current)
        assert named <= drawn[Arm.ACTIVE] | drawn[Arm.RANDOM]
        assert len(drawn[Arm.AUDIT]) == 1 and len(drawn[Arm.RANDOM]) == 4  # besides, as for a batch of five
        close(project)
        assert problems(project) == {}

    def test_an_audited_one_joins_a_and_costs_nothing(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        first = draw(project, batch=10)
        close(project)
        audited = first.draws.filter(arm=Arm.AUDIT).first().item
        fresh = Item.objects.filter(project=project, draws__isnull=True).first()
        second = draw(project, names=[audited.public_id, fresh.public_id])
        assert audited.pk not in asked_of(second)
        assert fresh.pk in asked_of(second)
        close(project)
        found = pool.load(project)
        assert pool.is_selected(found, project)[found.positions([audited.pk])].all()
        assert round_sizes.facts(project, 2)["n_known"] == 1
        assert Gold.objects.current().get(item=audited).origin == Arm.AUDIT
        assert problems(project) == {}

    def test_a_list_is_shown_what_the_policy_of_active_shows(self, tmp_path):
        project = make_project(suggestion_policy={"active": "shown", "start": "hidden", "conflict": "hidden"})
        import_rows(project, tmp_path, 60)
        current = draw(project, names=["item-1"])
        sampled = Draw.objects.filter(round=current, arm__in=[Arm.AUDIT, Arm.RANDOM]).values("item")
        assert {entry.suggestion for entry in current.queue.exclude(item__in=sampled)} <= {"shown"}
        assert {entry.suggestion for entry in current.queue.filter(item__in=sampled)} <= {"hidden"}

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["nope"], "has the id 'nope'"),
            (["item-1", "nope", "neither"], "one of the ids 'nope', 'neither'"),
            ([f"x{n}" for n in range(12)], "and 2 more"),
        ],
    )
    def test_an_unknown_id_draws_nothing(self, small, names, words):
        with pytest.raises(InvalidInput, match=words):
            draw(small, names=names)
        assert not small.rounds.exists()

    @pytest.mark.parametrize("name", ["a\x00", "\ud800", "x" * 201])
    def test_what_cannot_be_an_id_is_refused_before_a_database_sees_it(self, small, name):
        for refuse in (draw, lambda project, names: tasks.prepare(
            kind="draw", project=project, by=owner_of(project), parameters={"items": names}
        )):  # fmt: skip
            with pytest.raises(InvalidInput, match="is no id of an item"):
                refuse(small, names=["item-1", name])

    def test_a_withdrawn_item_is_not_in_the_pool(self, small):
        items.withdraw(project=small, external_ids=["item-1"], by=owner_of(small))
        with pytest.raises(InvalidInput, match="item-1"):
            draw(small, names=["item-1"])

    def test_one_with_gold_says_so(self, small):
        draw(small, everything=True)
        close(small)
        with pytest.raises(Conflict, match="The 1 item asked for has gold already"):
            draw(small, names=["item-1"])

    def test_not_both(self, small):
        with pytest.raises(InvalidInput, match="one of the two"):
            draw(small, everything=True, names=["item-1"])


class TestShortRounds:
    def test_a_batch_of_a_hundred_from_eleven_says_what_was_full_and_what_is_left(self, small):
        current = draw(small, batch=100)
        assert current.queue.count() == 6
        said = round_sizes.briefly(round_sizes.facts(small, 1), 6)
        assert said == (
            "100 questions were asked for, and there are only 6. "
            "Audit sample: 3 of 20 questions, because a sample is at most a third of the pool. "
            "Reference sample: 3 of 80 questions, because a sample is at most a third of the pool. "
            "Nothing says which of the 5 items that are left to ask: pre-label or train first, or label everything."
        )

    def test_a_target_is_named(self, tmp_path):
        project = make_project(audit_target=2, reference_target=4)
        import_rows(project, tmp_path, 60)
        draw(project, batch=20)
        said = round_sizes.sentences(round_sizes.facts(project, 1))
        assert said[0] == "Audit sample: 2 of 4 questions, because it has reached its target."
        assert said[1].startswith("Reference sample: 4 of 16 questions")

    def test_a_whole_batch_says_nothing(self, tmp_path):
        project = make_project()
        import_rows(project, tmp_path, 60)
        draw(project, batch=10)
        assert round_sizes.briefly(round_sizes.facts(project, 1), 10) == ""

    @pytest.mark.parametrize(
        ("n", "words"), [(1, "the 1 item that is left"), (2, "the 2 items that are left"), (1234, "the 1,234 items")]
    )
    def test_it_reads_well_for_any_number(self, n, words):
        row = {"arm": "active", "wanted": 2, "taken": 0, "reason": "no_scores", "left": n}
        assert words in round_sizes.sentences({"short": [row]})[0]

    def test_an_event_of_an_earlier_version_says_nothing(self, small):
        assert round_sizes.facts(small, 7) == {}
        with translation.override("de"):
            assert round_sizes.briefly({}, 3) == ""


class TestRuns:
    def test_parameters_are_checked_at_once(self, small):
        owner = owner_of(small)
        for parameters in ({"everything": True, "items": ["item-1"]}, {"items": [1]}, {"items": [""]}):
            with pytest.raises(InvalidInput):
                tasks.enqueue(kind="draw", project=small, by=owner, parameters=parameters)
        run = tasks.enqueue(kind="draw", project=small, by=owner, parameters={"everything": True})
        assert json.loads(json.dumps(run.parameters)) == {"everything": True}
        run.delete()
        run = tasks.enqueue(kind="draw", project=small, by=owner, parameters={"items": ["item-1"]})
        assert run.parameters == {"items": ["item-1"]}


@pytest.mark.portable
@settings(max_examples=12, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["batch", "everything", "list", "import", "withdraw"]), st.integers(1, 12), st.booleans()
        ),
        min_size=2,
        max_size=6,
    )
)
def test_samples_stay_samples_whatever_is_asked_for(steps, tmp_path_factory):
    """Rounds of any size and list, imports and withdrawals: `verify` holds, and S and A are what the draws say.

    A never spares the audit: what "everything" left outside A was imported after it.
    """
    folder = tmp_path_factory.mktemp("rows")
    project = make_project()
    owner = owner_of(project)
    import_rows(project, folder, 12, prefix=f"first-{project.pk}")
    for place, (what, n, is_forced) in enumerate(steps):
        present = list(Item.objects.filter(project=project).in_pool().order_by("content_hash"))
        if what == "import":
            import_rows(project, folder, n, prefix=f"part-{project.pk}-{place}")
            continue
        if what == "withdraw":
            items.withdraw(project=project, public_ids=[present[0].public_id], by=owner)
            continue
        wanted = {"batch": {"batch": n}, "everything": {"everything": True}, "list": {}}[what]
        if what == "list":
            wanted = {"names": [item.public_id for item in present[:n]]}
        try:
            drawn = draw(project, **wanted)
        except Conflict:  # nothing is left to ask
            continue
        answer_round(project, leave=2 if is_forced else 0)
        rounds.close_round(project=project, by=owner, force=is_forced)
        found = pool.load(project)
        in_a = pool.is_selected(found, project)
        if what == "everything":
            assert in_a.all()
        if what == "list":
            assert in_a[found.positions([item.pk for item in present[:n]])].all()
        picked = found.mask(drawn.draws.exclude(arm=Arm.AUDIT).values_list("item_id", flat=True))
        assert (picked <= in_a).all()
        assert problems(project) == {}
    audited = pool.drawn(pool.load(project), project, Arm.AUDIT)
    project.refresh_from_db()
    behind = pool.load(project).prn <= (-1.0 if project.audit_cutoff is None else project.audit_cutoff)
    assert audited.tolist() == behind.tolist()
    assert Import.objects.filter(project=project).exists() and delivery.current(project=project, by=owner)
