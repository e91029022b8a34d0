"""What a change of labels does to gold, silver and the samples, by the table of docs/labels.md."""

import pytest

from annotate import label_changes, labels, projects, rounds, samples
from annotate.errors import AccessDenied, Conflict, InvalidInput
from annotate.label_changes import NextLabel
from annotate.models import Draw, Gold, Label, LabelMapping
from annotate.models.base import database_now
from annotate.models.project import Arm
from annotate.projects import NewLabel
from tests.annotate.asking import answer, problems
from tests.factories import answer_round, make_member, make_project, owner_of
from tests.rows import make_items, make_round, make_run, make_silver

pytestmark = pytest.mark.django_db

NAMES = ("red", "green", "blue")


def following(*rows, **more):
    """Labels of the next version: a name that stays, or (name, what it was)."""
    made = [(row, (row,)) if isinstance(row, str) else row for row in rows]
    return [NextLabel(NewLabel(name), was=tuple(was), **more.get(name, {})) for name, was in made]


@pytest.fixture
def project():
    """Nine items with a machine label, three gold labels of each colour by item: 0-2 red, 3-5 green, 6-8 blue."""
    project = make_project(labels=NAMES)
    items = make_items(project, n=9)
    make_silver(project, items)
    colours = projects.labels_of(projects.current_schema(project))
    for place, item in enumerate(items):
        Gold.objects.create(
            project=project, item=item, label=colours[place // 3], rule="imported", origin=Arm.IMPORTED, is_blind=False
        )
    return project


def change(project, new, **more):
    return label_changes.change(project=project, new=new, by=owner_of(project), **more)


def preview(project, new):
    return label_changes.preview(project=project, new=new, by=owner_of(project))


def read(project):
    """The names that the gold of the nine items reads as now."""
    history = labels.history(projects.current_schema(project))
    found = (history.gold_label(row.label_id) for row in project.gold.order_by("item__ordinal"))
    return [label.name if label else None for label in found]


class TestChange:
    @pytest.mark.parametrize(
        ("new", "expected"),
        [
            (following(("crimson", ["red"]), "green", "blue"), ["crimson", "green", "blue"]),
            (following("blue", "red", "green"), ["red", "green", "blue"]),
            (following("red", ("cold", ["green", "blue"])), ["red", "cold", "cold"]),
            (following("red", "green"), ["red", "green", None]),
            (following(*NAMES, ("pink", [])), [None, None, None]),
            (following(*NAMES, ("pink", []), pink={"takes_from": ("red",)}), [None, "green", "blue"]),
            (following(*NAMES, blue={"has_new_meaning": True}), ["red", "green", None]),
            (
                following("red", "green", ("navy", ["blue"]), ("sky", ["blue"]), sky={"takes_machine_labels": True}),
                ["red", "green", None],
            ),
        ],
    )
    def test_gold_reads_as_the_rules_say(self, project, new, expected):
        change(project, new)
        assert read(project) == [name for name in expected for _ in range(3)]

    def test_two_changes_read_one_after_the_other(self, project):
        change(project, following("red", ("cold", ["green", "blue"])))
        change(project, following(("warm", ["red"]), ("cool", ["cold"])))
        assert read(project) == ["warm"] * 3 + ["cool"] * 6

    def test_no_row_is_rewritten(self, project):
        before = list(project.gold.order_by("pk").values())
        change(project, following("red", ("cold", ["green", "blue"])))
        assert list(project.gold.order_by("pk").values()) == before

    def test_a_label_that_stays_keeps_its_lasting_id_and_colour(self, project):
        before = {row.name: (row.lasting_id, row.colour) for row in Label.objects.filter(schema__project=project)}
        schema = change(project, following("blue", ("crimson", ["red"]), "green"))
        after = {row.name: (row.lasting_id, row.colour) for row in projects.labels_of(schema)}
        assert after == {"blue": before["blue"], "crimson": before["red"], "green": before["green"]}

    def test_the_same_again_is_no_new_version(self, project):
        assert change(project, following(*NAMES)).version == 1

    def test_a_version_saved_meanwhile_is_kept(self, project):
        change(project, following("blue", "red", "green"), base=1)
        with pytest.raises(Conflict, match="meanwhile"):
            change(project, following("green", "red", "blue"), base=1)

    @pytest.mark.parametrize(
        ("new", "sentence"),
        [
            (following("red", ("green", ["yellow"])), "no label 'yellow'"),
            (following("red", ("a", ["green"]), ("b", ["green"]), "blue"), "'green' is split"),
            (following(*NAMES, red={"takes_from": ("green",)}), "only a new label"),
            (following("red"), "2 to"),
            (following("red", ("red", ["green"])), "twice"),
        ],
    )
    def test_a_plan_that_says_too_little_is_refused(self, project, new, sentence):
        with pytest.raises(InvalidInput, match=sentence):
            change(project, new)
        assert project.schemas.count() == 1

    def test_only_who_manages_may(self, project):
        with pytest.raises(AccessDenied):
            label_changes.change(project=project, new=following("red", "green"), by=make_member(project))


class TestPreview:
    def test_it_counts_what_becomes_void(self, project):
        effect = preview(project, following("red", ("cold", ["green"])))
        assert [(fate.name, fate.n_gold, fate.keeps_gold) for fate in effect.fates] == [
            ("red", 3, True),
            ("green", 3, True),
            ("blue", 3, False),
        ]
        assert effect.n_void == 3
        assert effect.fates[0].n_silver == 9
        assert not effect.keeps_models

    def test_it_changes_nothing(self, project):
        preview(project, following("red", "green"))
        assert project.schemas.count() == 1

    def test_a_merge_says_which_disputes_it_settles(self, asked):
        project = asked(batch=5, labels=NAMES, overlap=2, gold_rule="agree_k", agree_k=2)
        entry = project.rounds.get().queue.first()
        answer(entry, owner_of(project), "green")
        answer(entry, make_member(project), "blue")
        new = following("red", ("cold", ["green", "blue"]))
        assert preview(project, new).n_settled == 1
        change(project, new)
        assert [row.label.name for row in project.gold.all()] == ["cold"]


class TestSettling:
    def test_new_names_settle_nothing(self, asked):
        """An item labeled by one person and then drawn by the audit waits for audit gold, without any disagreement."""
        project = asked(batch=5, labels=NAMES)
        entry = project.rounds.get().queue.exclude(item__draws__arm="audit").first()
        answer(entry, owner_of(project), "green")
        Draw.objects.create(project=project, item=entry.item, round=entry.round, arm=Arm.AUDIT, reason="")
        new = following("red", ("olive", ["green"]), "blue")
        assert preview(project, new).n_settled == 0
        change(project, new)
        assert [row.label.name for row in project.gold.all()] == ["green"]


class TestUndo:
    def test_the_version_before_is_in_force_again(self, project):
        change(project, following("red", "green"))
        assert label_changes.undo(project=project, by=owner_of(project)).version == 1
        assert read(project) == [name for name in NAMES for _ in range(3)]

    def test_the_first_version_stays(self, project):
        with pytest.raises(Conflict, match="no change"):
            label_changes.undo(project=project, by=owner_of(project))

    def test_what_followed_makes_it_final(self, asked):
        project = asked(batch=5)
        change(project, following("no", "yes"))
        answer_round(project, leave=4)
        with pytest.raises(Conflict, match="Answers were given"):
            label_changes.undo(project=project, by=owner_of(project))

    def test_gold_that_a_merge_settled_goes_with_it(self, asked):
        project = asked(batch=5, labels=NAMES, overlap=2, gold_rule="agree_k", agree_k=2)
        entry = project.rounds.get().queue.first()
        answer(entry, owner_of(project), "green")
        answer(entry, make_member(project), "blue")
        change(project, following("red", ("cold", ["green", "blue"])))
        label_changes.undo(project=project, by=owner_of(project))
        assert not project.gold.exists()

    @pytest.mark.parametrize("new", [following("red", "green"), following(("pink", []), ("grey", []))])
    def test_after_it_the_labels_can_be_changed_again(self, project, new):
        """Of a retired label, too, nothing stays behind."""
        for _ in range(2):
            change(project, new)
            label_changes.undo(project=project, by=owner_of(project))
        assert not LabelMapping.objects.exists()

    def test_only_the_latest_is_taken_back(self, project):
        change(project, following("red", "green"))
        label_changes.undo(project=project, by=owner_of(project), version=2)
        change(project, following("green", "red", "blue"))
        with pytest.raises(Conflict, match="Version 1 of the labels is not the latest"):
            label_changes.undo(project=project, by=owner_of(project), version=1)

    @pytest.mark.parametrize(
        ("follow", "sentence"),
        [
            (lambda project, items: make_round(project, items, index=2), "A round was drawn"),
            (lambda project, items: project.rounds.update(closed_at=database_now()), "A round was closed"),
            (lambda project, items: make_run(project, state="running"), "Long work is under way"),
            (lambda project, items: make_run(project, "import"), "Long work ended"),
        ],
    )
    def test_rounds_and_runs_make_it_final_too(self, project, follow, sentence):
        *drawn, last = project.items.all()
        make_round(project, drawn, is_closed=True)
        change(project, following("red", "green"))
        follow(project, [last])
        with pytest.raises(Conflict, match=sentence):
            label_changes.undo(project=project, by=owner_of(project))

    def test_a_machine_that_was_asked_makes_it_final(self, project):
        """Nor does a run that is paused have an end: its answers belong to the labels that it was started under."""
        change(project, following("red", "green"))
        make_run(project, "prelabel", state="paused")
        make_silver(project, project.items.all()[:1], version=2)
        with pytest.raises(Conflict, match="The machine was asked"):
            label_changes.undo(project=project, by=owner_of(project))


class TestSave:
    def test_while_nothing_is_labeled_they_are_replaced(self):
        project = make_project(labels=NAMES)
        new = [NextLabel(NewLabel("spam")), NextLabel(NewLabel("ham"))]
        assert label_changes.save(project=project, new=new, by=owner_of(project)).version == 2
        assert not LabelMapping.objects.exists()

    def test_what_is_said_of_todays_labels_must_be_true_even_then(self):
        project = make_project(labels=NAMES)
        with pytest.raises(InvalidInput, match="no label 'grey'"):
            label_changes.save(project=project, new=following("red", ("a", ["grey"])), by=owner_of(project))

    def test_in_use_it_is_a_change(self, project):
        label_changes.save(project=project, new=following("red", "green"), by=owner_of(project), base=1)
        assert read(project)[-1] is None


class TestSamples:
    def test_a_sample_is_complete_up_to_the_first_void_gold(self, asked):
        project = asked(batch=20, labels=NAMES)
        entries = sorted(project.rounds.get().queue.filter(item__draws__arm="audit"), key=lambda e: e.item.prn)
        for place, entry in enumerate(entries):
            answer(entry, owner_of(project), "blue" if place == 2 else "red")
        rounds.close_round(project=project, by=owner_of(project), force=True)
        schema = change(project, following("red", "green"))
        assert entries[1].item.prn <= schema.audit_cutoff < entries[2].item.prn
        assert schema.reference_cutoff is None
        assert samples.to_ask_again(schema) == {entries[2].item_id}

    def test_a_change_without_void_gold_leaves_them_whole(self, asked):
        project = asked(batch=20, labels=NAMES)
        answer_round(project, "red")
        rounds.close_round(project=project, by=owner_of(project))
        schema = change(project, following("blue", "red", "green"))
        assert (schema.audit_cutoff, schema.reference_cutoff) == (None, None)
        assert samples.to_ask_again(schema) == set()

    @pytest.fixture
    def asked_halfway(self, asked):
        """The labels change while the first round is open and answered; every third question said blue."""
        project = asked(batch=20, labels=NAMES)
        for place, entry in enumerate(project.rounds.get().queue.order_by("item__prn")):
            answer(entry, owner_of(project), "red" if place % 3 else "blue")
        return project

    def test_a_round_open_meanwhile_brings_void_gold_into_the_samples(self, asked_halfway):
        project = asked_halfway
        seen = preview(project, following("red", "green"))
        # All of the open round count alike: what is counted must not tell which of them are of a sample.
        assert (seen.n_asked_again, seen.is_at_most) == (seen.n_void, True)
        assert samples.to_ask_again(change(project, following("red", "green"))) == set()
        rounds.close_round(project=project, by=owner_of(project))
        schema = projects.current_schema(project)
        void = samples.to_ask_again(schema)
        assert 0 < len(void) <= seen.n_asked_again
        assert preview(project, following("red", "green")).is_at_most is False
        for arm, cutoff in (("audit", schema.audit_cutoff), ("random", schema.reference_cutoff)):
            held = project.items.filter(pk__in=void, draws__arm=arm).values_list("prn", flat=True)
            first = min(held) if arm == "audit" else max(held)
            assert cutoff == pytest.approx(first, abs=1e-12)
            assert cutoff != first
        assert problems(project) == {}

    def test_new_names_ask_nothing_again(self, asked_halfway):
        """What was asked again and left unanswered stays unresolved when a later change spares it."""
        project = asked_halfway
        rounds.close_round(project=project, by=owner_of(project))
        before = change(project, following("red", "green"))
        assert samples.to_ask_again(before)
        rounds.draw_round(project=project, batch=60, by=owner_of(project))
        rounds.close_round(project=project, by=owner_of(project), force=True)
        before.refresh_from_db()
        assert samples.to_ask_again(before) == set()
        new = following(("crimson", ["red"]), "green")
        assert preview(project, new).n_asked_again == 0
        schema = change(project, new)
        assert (schema.audit_cutoff, schema.reference_cutoff) == (before.audit_cutoff, before.reference_cutoff)
        assert samples.to_ask_again(schema) == set()
        assert problems(project) == {}
