"""Answers and the labels that were shown: what becomes of one when a change of labels comes between."""

import pytest
from django.db import transaction
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate import label_changes, labels, projects, rounds
from annotate.errors import Conflict, InvalidInput
from annotate.labeling import adjudication, answers, disputes, from_file, gold, suggestions
from annotate.labeling import leases as leasing
from annotate.models import Annotation, Draft, Gold, Label, Lease, Prediction, QueueEntry
from tests.annotate.asking import answer, change_labels, label, problems, question, state_of, take
from tests.annotate.asking import change as revise
from tests.factories import make_member, make_project, make_user, owner_of, write_jsonl
from tests.rows import make_items, make_round, make_silver

pytestmark = pytest.mark.django_db

NAMES = ("red", "green", "blue")
COLD = ("red", ("cold", ["green", "blue"]))
NO_BLUE = ("red", "green")


def undo(project):
    return label_changes.undo(project=project, by=owner_of(project))


def say(lease, index, version=None, key="k", **more):
    """An answer as page and API send it."""
    return answers.submit(
        lease_id=lease.public_id,
        project=lease.entry.round.project,
        answer=answers.Answer(label=index, version=version, **more),
        key=key,
        by=lease.annotator,
    )


@pytest.fixture
def project(asked):
    return asked(labels=NAMES)


@pytest.fixture
def pairs(asked):
    """Two people answer each question, and both have to agree."""
    return asked(labels=NAMES, overlap=2, gold_rule="agree_k", agree_k=2)


def held(project, by=None):
    return leasing.lease(entry=question(project), annotator=by or owner_of(project))


class TestShown:
    def test_an_index_means_the_labels_that_were_shown(self, project):
        lease = held(project)
        change_labels(project, COLD)
        spoken = say(lease, 2, version=1)
        assert (spoken.label.name, spoken.label.schema.version, spoken.is_counted) == ("blue", 1, True)
        assert Gold.objects.get().label.name == "cold"

    def test_without_a_version_it_means_those_in_force(self, project):
        lease = held(project)
        change_labels(project, ("blue", "green", "red"))
        assert say(lease, 0).label.name == "blue"

    def test_a_version_that_knows_no_such_label_is_refused(self, project):
        lease = held(project)
        change_labels(project, COLD)
        with pytest.raises(InvalidInput, match="no label 2"):
            say(lease, 2, version=2)

    def test_a_version_that_was_taken_back_is_a_conflict_even_after_another_change(self, project):
        change_labels(project, COLD)
        lease = held(project)
        undo(project)
        for changed in (False, True):
            if changed:
                assert change_labels(project, NO_BLUE).version == 3
            with pytest.raises(Conflict, match="labels that you saw"):
                say(lease, 1, version=2)
        assert Lease.objects.get(pk=lease.pk).ended_at is None
        assert say(lease, 1, version=3).label.name == "green"


class TestVoid:
    def test_a_void_answer_is_stored_and_the_item_asked_again(self, project):
        lease = held(project)
        change_labels(project, NO_BLUE)
        spoken = say(lease, 2, version=1)
        assert (spoken.label.name, spoken.is_counted, spoken.is_current) == ("blue", False, True)
        assert answers.why_uncounted(spoken) == "labels_changed"
        assert state_of(lease.entry) == (0, "open")
        assert not Gold.objects.exists()
        again = next(one for one in take(project, owner_of(project), n=10) if one.entry_id == lease.entry_id)
        assert say(again, 0, version=2, key="k2").is_counted
        assert Gold.objects.get().label.name == "red"
        assert problems(project) == {}

    def test_it_is_paid_and_once(self, asked):
        project = asked(labels=NAMES, human_price_micros=50)
        lease = held(project)
        change_labels(project, NO_BLUE)
        assert say(lease, 2, version=1).price_micros == 50
        assert answer(lease.entry, owner_of(project), "red").price_micros == 0
        assert problems(project) == {}

    def test_it_never_takes_the_place_of_an_answer_that_stands(self, project):
        entry, olga = question(project), owner_of(project)
        answer(entry, olga, "red")
        change_labels(project, NO_BLUE)
        spoken = answers.change(
            lease_id=Lease.objects.get(entry=entry).public_id,
            project=project,
            answer=answers.Answer(label=2, version=1),
            key="k",
            by=olga,
        )
        assert (spoken.is_counted, spoken.is_current) == (False, False)
        assert Gold.objects.current().get().label.name == "red"
        assert state_of(entry) == (1, "answered")
        assert problems(project) == {}

    def test_a_change_that_comes_between_reading_and_storing_is_seen(self, project, monkeypatch):
        lease = held(project)
        load = answers.context.load

        def load_and_change(**given):
            found = load(**given)
            if project.schemas.count() == 1:
                change_labels(project, NO_BLUE)
            return found

        monkeypatch.setattr(answers.context, "load", load_and_change)
        assert not say(lease, 2, version=1).is_counted
        assert problems(project) == {}


class TestReplay:
    @pytest.mark.parametrize("rows", [COLD, NO_BLUE, ("blue", "green", "red")])
    @pytest.mark.parametrize("version", [1, None])
    def test_the_same_key_gives_the_first_answer_after_any_change(self, project, rows, version):
        lease = held(project)
        first = say(lease, 2, version=version)
        change_labels(project, rows)
        assert say(lease, 2, version=version).pk == first.pk

    def test_another_label_under_the_same_key_is_refused(self, project):
        lease = held(project)
        say(lease, 2, version=1)
        change_labels(project, COLD)
        with pytest.raises(Conflict, match="key was used before"):
            say(lease, 1, version=1)


class TestOpenQuestions:
    def test_a_half_answered_question_becomes_gold_after_its_answer_was_void(self, pairs):
        entry, olga, ann = question(pairs), owner_of(pairs), make_member(pairs)
        answer(entry, olga, "blue")
        change_labels(pairs, NO_BLUE)
        assert state_of(entry) == (0, "open")
        assert problems(pairs) == {}
        answer(entry, ann, "green")
        answer(entry, olga, "green")
        assert state_of(entry) == (2, "answered")
        assert Gold.objects.get().label.name == "green"
        assert problems(pairs) == {}

    def test_whoever_gave_it_may_change_it_and_then_it_counts(self, pairs):
        entry, olga = question(pairs), owner_of(pairs)
        answer(entry, olga, "blue")
        change_labels(pairs, NO_BLUE)
        assert revise(entry, olga, "green").is_counted
        assert state_of(entry) == (1, "open")
        assert problems(pairs) == {}

    def test_where_others_were_quicker_it_stays_void(self, asked):
        project = asked(labels=NAMES, overlap=2, gold_rule="agree_k", agree_k=2)
        entry, olga = question(project), owner_of(project)
        answer(entry, olga, "blue")
        change_labels(project, NO_BLUE)
        for name in ("Ann", "Ben"):
            leasing.lease(entry=entry, annotator=make_member(project, name))
        with pytest.raises(Conflict, match="nothing was changed"):
            revise(entry, olga, "green")

    def test_an_answer_that_still_reads_goes_on_counting(self, pairs):
        entry, ann = question(pairs), make_member(pairs)
        answer(entry, owner_of(pairs), "blue")
        change_labels(pairs, COLD)
        assert state_of(entry) == (1, "open")
        answer(entry, ann, "cold")
        assert Gold.objects.get().label.name == "cold"
        assert problems(pairs) == {}

    def test_undo_counts_it_again_and_ends_the_leases_since(self, pairs):
        entry, olga = question(pairs), owner_of(pairs)
        answer(entry, olga, "blue")
        change_labels(pairs, NO_BLUE)
        for name in ("Ann", "Ben"):
            leasing.lease(entry=entry, annotator=make_member(pairs, name))
        undo(pairs)
        assert state_of(entry) == (1, "open")
        assert Annotation.objects.get().is_counted
        assert not Lease.objects.filter(ended_at__isnull=True).exists()
        assert problems(pairs) == {}

    def test_undo_leaves_a_late_answer_uncounted(self, pairs, late):
        entry = question(pairs)
        lost = leasing.lease(entry=entry, annotator=owner_of(pairs))
        leasing.expire(entry=entry, now=late)
        say(lost, 2)
        change_labels(pairs, NO_BLUE)
        undo(pairs)
        assert not Annotation.objects.get().is_counted
        assert problems(pairs) == {}


class TestGoldRule:
    def test_void_answers_do_not_count_when_one_is_changed(self, pairs):
        entry, olga, ann = question(pairs), owner_of(pairs), make_member(pairs)
        answer(entry, olga, "blue")
        answer(entry, ann, "green")
        change_labels(pairs, NO_BLUE)
        revise(entry, ann, "red")
        assert not Gold.objects.current().exists()
        revise(entry, olga, "red")
        assert Gold.objects.current().get().label.name == "red"
        assert problems(pairs) == {}

    def test_void_gold_gives_way_and_its_origin_stays(self, project):
        entry, olga = question(project), owner_of(project)
        answer(entry, olga, "blue")
        before = Gold.objects.get()
        change_labels(project, NO_BLUE)
        revise(entry, olga, "green")
        now = Gold.objects.current().get()
        assert (now.label.name, now.origin, now.pk != before.pk) == ("green", before.origin, True)
        assert problems(project) == {}

    def test_gold_that_reads_the_same_stays(self, project):
        entry, olga = question(project), owner_of(project)
        answer(entry, olga, "blue")
        before = Gold.objects.get()
        change_labels(project, COLD)
        revise(entry, olga, "cold")
        assert Gold.objects.current().get() == before
        assert problems(project) == {}


class TestOwnPast:
    @pytest.mark.parametrize(("rows", "now"), [(COLD, "cold"), (NO_BLUE, None)])
    def test_history_shows_the_label_as_it_reads_now(self, project, rows, now):
        answer(question(project), owner_of(project), "blue")
        change_labels(project, rows)
        (past,) = answers.history(project=project, by=owner_of(project))
        assert (past.label and past.label.name, past.is_void) == (now, now is None)
        assert past.annotation.label.name == "blue"

    @pytest.mark.parametrize(("rows", "now"), [(COLD, "cold"), (NO_BLUE, None)])
    def test_a_draft_keeps_its_comment_and_its_label_where_that_still_reads(self, project, rows, now):
        lease = held(project)
        answers.save_draft(lease=lease, by=lease.annotator, label=label(project, "blue"), comment="hm")
        change_labels(project, rows)
        draft = answers.drafts_of([lease], lease.annotator)[lease.entry_id]
        assert (draft.label and draft.label.name, draft.comment) == (now, "hm")

    def test_undo_keeps_the_comment_of_a_draft(self, project):
        change_labels(project, COLD)
        lease = held(project)
        answers.save_draft(lease=lease, by=lease.annotator, label=label(project, "cold"), comment="hm")
        undo(project)
        draft = Draft.objects.get()
        assert (draft.label, draft.comment) == (None, "hm")


def test_a_reading_of_the_version_in_force_asks_nothing(project, django_assert_num_queries):
    schema = projects.current_schema(project)
    red = Label.objects.get(name="red")
    with django_assert_num_queries(0):
        assert labels.Reading(schema.pk).label_id(red.pk, schema.pk) == red.pk
        assert labels.Reading(schema.pk).label_id(None, None) is None


def test_a_void_decision_gives_way_to_the_next_answer(pairs):
    entry, ravi = disputed(pairs)
    olga = owner_of(pairs)
    decide(pairs, entry, ravi, 2)
    change_labels(pairs, NO_BLUE)
    revise(entry, olga, "green")
    now = Gold.objects.current().get()
    assert (now.label.name, now.rule) == ("green", "agree_k")
    assert not pairs.adjudications.filter(is_current=True).exists()
    assert gold.standing_gold(entry.item_id, is_audited=False) == now
    assert problems(pairs) == {}


class TestDisputes:
    """A question of overlap 3 with two answers, its round closed over them."""

    @pytest.fixture
    def closed(self, asked):
        project = asked(labels=NAMES, overlap=3, gold_rule="agree_k", agree_k=2)
        entry = question(project)
        answer(entry, owner_of(project), "green")
        answer(entry, make_member(project), "blue")
        rounds.close_round(project=project, by=owner_of(project), force=True)
        return project

    @pytest.mark.parametrize(
        ("changes", "n"),
        [
            ((), 1),
            ((COLD,), 0),
            ((NO_BLUE,), 0),
            ((("blue", "green", "red"),), 1),
            ((("blue", "green", "red"), COLD), 0),
        ],
    )
    def test_labels_that_read_alike_or_not_at_all_are_no_dispute(self, closed, changes, n):
        for rows in changes:
            change_labels(closed, rows)
        assert disputes.undecided(closed).count() == n

    def test_answers_under_different_versions_may_read_alike(self, asked):
        project = asked(labels=NAMES, overlap=3, gold_rule="agree_k", agree_k=3)
        entry = question(project)
        answer(entry, owner_of(project), "green")
        change_labels(project, ("blue", "green", "red"))
        answer(entry, make_member(project), "green")
        rounds.close_round(project=project, by=owner_of(project), force=True)
        assert not disputes.undecided(project).exists()

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(said=st.lists(st.integers(0, 3), min_size=1, max_size=3), plans=st.lists(st.integers(0, 4), max_size=3))
    def test_the_database_counts_as_the_maps_do(self, db, said, plans):
        with transaction.atomic():
            project, entry = a_question(said)
            for plan in plans:
                change_labels(project, PLANS[plan](project))
            history = labels.history(projects.current_schema(project))
            read = {history.gold_index(label) for label in Annotation.objects.values_list("label", flat=True)} - {-1}
            counted = type(entry).objects.annotate(n=disputes.n_different(F("item"))).get(pk=entry.pk)
            assert counted.n == len(read)
            transaction.set_rollback(True)


def a_question(said):
    """A question with one answer a person, given under labels 0 to 3."""
    project = make_project(labels=("a", "b", "c", "d"))
    [item] = make_items(project, n=1)
    entry = make_round(project, [item]).queue.get()
    colours = projects.labels_of(projects.current_schema(project))
    for n, index in enumerate(said):
        Annotation.objects.create(
            project=project, item=item, entry=entry, annotator=make_user(), label=colours[index], revision=1,
            is_blind=True, idempotency_key=f"made {project.pk} {n}",
        )  # fmt: skip
    return project, entry


def names(project):
    return [row.name for row in projects.labels_of(projects.current_schema(project))]


PLANS = [
    lambda project: names(project)[::-1],
    lambda project: [(f"{names(project)[0]}'", names(project)[:1]), *names(project)[1:]],
    lambda project: [
        ("&".join(names(project)[:2]), names(project)[:2]),
        *names(project)[2:],
        (f"new {project.schemas.count()}", ()),
    ],
    lambda project: names(project)[1:] if len(names(project)) > 2 else names(project),
    lambda project: (
        [("".join(names(project)[-2:]), names(project)[-2:]), *names(project)[:-2]]
        if len(names(project)) > 2
        else names(project)
    ),
]


@pytest.mark.parametrize(("rows", "name", "reason"), [(COLD, "cold", None), (NO_BLUE, None, "label_retired")])
def test_a_suggestion_is_the_machines_label_as_it_reads_now(project, rows, name, reason):
    entry = question(project)
    prompt = make_silver(project, [])
    Prediction.objects.create(prompt=prompt, item=entry.item, status="ok", label_index=2)
    QueueEntry.objects.filter(pk=entry.pk).update(suggestion="shown")
    entry.refresh_from_db()
    change_labels(project, rows)
    shown = suggestions.by_entry(project=project, entries=[entry])[entry.pk]
    assert (shown.label and shown.label.name, shown.reason) == (name, reason)


@pytest.mark.parametrize(("rows", "name", "n"), [(COLD, "cold", 0), (NO_BLUE, "green", 1)])
def test_a_file_that_says_the_same_as_now_stores_nothing(pairs, tmp_path, rows, name, n):
    entry, olga = question(pairs), owner_of(pairs)
    answer(entry, olga, "blue")
    change_labels(pairs, rows)
    path = write_jsonl(tmp_path / "a.jsonl", [{"item": entry.item.public_id, "annotator": olga.email, "label": name}])
    result = from_file.import_annotations(project=pairs, path=path, by=olga)
    assert (result.n_stored, result.n_known, result.refused) == (n, 1 - n, [])
    assert Annotation.objects.filter(is_current=True, is_counted=True).count() == 1
    assert problems(pairs) == {}


class TestDecisions:
    def test_repeating_ones_decision_gives_it_back_as_it_reads_now(self, pairs):
        entry, ravi = disputed(pairs)
        made = decide(pairs, entry, ravi, 2)
        change_labels(pairs, COLD)
        assert decide(pairs, entry, ravi, 1) == made
        assert problems(pairs) == {}

    def test_a_void_one_may_be_made_anew(self, pairs):
        entry, ravi = disputed(pairs)
        made = decide(pairs, entry, ravi, 2)
        change_labels(pairs, NO_BLUE)
        assert decide(pairs, entry, ravi, 1, seen=made.public_id).label.name == "green"
        assert Gold.objects.current().get().label.name == "green"
        assert problems(pairs) == {}


def disputed(project):
    entry = question(project)
    answer(entry, owner_of(project), "blue")
    answer(entry, make_member(project), "green")
    return entry, make_member(project, "Ravi", "reviewer")


def decide(project, entry, by, label, seen=""):
    return adjudication.adjudicate(
        project=project, round_index=1, item=entry.item.public_id, label=label, reason="It is.", by=by, seen=seen
    )
