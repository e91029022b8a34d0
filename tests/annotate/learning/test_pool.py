"""Gold and silver as arrays, read under the labels in force, and the complete parts of the samples."""

import numpy as np
import pytest

from annotate import label_changes, labels, projects
from annotate.label_changes import NextLabel
from annotate.learning import delivery, machine_labels, pool, training
from annotate.models import Draw, Gold, LabelSchema, Prediction
from annotate.models.project import Arm
from annotate.projects import NewLabel
from tests.factories import make_project, owner_of
from tests.rows import make_items, make_silver

pytestmark = pytest.mark.django_db

NAMES = ("red", "green", "blue")
NONE = pool.NO_LABEL


@pytest.fixture
def project():
    return make_project(labels=NAMES)


def give(item, name, origin=Arm.RANDOM, is_blind=True):
    label = projects.labels_of(projects.current_schema(item.project))[NAMES.index(name)]
    fields = {"rule": "one_trusted", "origin": origin, "is_blind": is_blind}
    return Gold.objects.create(project=item.project, item=item, label=label, **fields)


def draw(items, arm):
    Draw.objects.bulk_create(Draw(project=item.project, item=item, arm=arm, reason="test") for item in items)


def change(project, *rows):
    """The next version of the labels: a name that stays, or (name, what it was)."""
    made = [(row, (row,)) if isinstance(row, str) else row for row in rows]
    new = [NextLabel(NewLabel(name), was=tuple(was)) for name, was in made]
    return label_changes.change(project=project, new=new, by=owner_of(project))


def split_blue(project):
    sky = NextLabel(NewLabel("sky"), was=("blue",), takes_machine_labels=True)
    new = [*(NextLabel(NewLabel(name), was=(name,)) for name in ("red", "green")), sky]
    label_changes.change(project=project, new=[*new, NextLabel(NewLabel("navy"), was=("blue",))], by=owner_of(project))


def gold_of(project):
    return pool.load_gold(pool.load(project), labels.current(project))


def silver_of(project, prompt):
    return pool.load_silver(pool.load(project), prompt, labels.current(project))


def tell(prompt, items, vectors):
    """The machine says the likeliest label of each vector, or nothing valid for None."""
    for item, vector in zip(items, vectors, strict=True):
        blob = None if vector is None else np.array(vector, dtype="<f4").tobytes()
        said = None if vector is None else int(np.argmax(vector))
        status = "refusal" if vector is None else "ok"
        Prediction.objects.filter(prompt=prompt, item=item).update(label_index=said, probabilities=blob, status=status)


class TestGold:
    def test_labels_read_as_the_changes_say(self, project):
        for item, name in zip(make_items(project, 3), NAMES, strict=True):
            give(item, name)
        change(project, "blue", ("warm", ["red"]))
        assert gold_of(project).trainable.tolist() == [1, NONE, 0]

    def test_gold_of_several_versions_stands_side_by_side(self, project):
        items = make_items(project, 2)
        give(items[0], "red")
        schema = change(project, "green", "blue", "red")
        fields = {"rule": "one_trusted", "origin": Arm.RANDOM, "is_blind": True}
        Gold.objects.create(project=project, item=items[1], label=schema.labels.get(name="red"), **fields)
        assert gold_of(project).trainable.tolist() == [2, 2]

    def test_void_gold_is_none_and_said_to_be_void(self, project):
        items = make_items(project, 3)
        give(items[0], "blue")
        give(items[1], "blue")
        give(items[1], "red", Arm.AUDIT)
        change(project, "red", "green")
        gold = gold_of(project)
        assert gold.delivered.tolist() == [NONE, 0, NONE]
        assert gold.is_void.tolist() == [True, False, False]

    @pytest.mark.parametrize("audit_is_first", [True, False])
    @pytest.mark.parametrize(("is_blind", "expected"), [(True, "green"), (False, "red")])
    def test_the_audit_counts_its_own_gold_if_it_is_blind_else_other_blind_gold(
        self, project, audit_is_first, is_blind, expected
    ):
        """docs/loop.md, "Gold". Which row was written first never matters."""
        (item,) = make_items(project, 1)
        rows = [("green", Arm.AUDIT, is_blind), ("red", Arm.RANDOM, True)]
        for row in rows if audit_is_first else reversed(rows):
            give(item, *row)
        assert gold_of(project).blind.tolist() == [NAMES.index(expected)]

    def test_what_an_audit_draw_obtained_never_fits_the_reference(self, project):
        """S-2, where an item has gold of both kinds and only that of the audit is blind."""
        (item,) = make_items(project, 1)
        give(item, "green", Arm.AUDIT)
        give(item, "red", Arm.ACTIVE, is_blind=False)
        assert gold_of(project).blind_trainable.tolist() == [NONE]


class TestWhatFits:
    @pytest.fixture
    def mixed(self, project):
        """Two reference items: one with blind gold that trains, one whose only blind gold is the audit's."""
        items = make_items(project, 2)
        make_silver(project, items)
        draw(items, Arm.RANDOM)
        give(items[0], "red")
        give(items[1], "green", Arm.AUDIT)
        give(items[1], "red", Arm.ACTIVE, is_blind=False)
        return project

    def test_the_label_combination_sees_no_audit_gold(self, mixed, monkeypatch):
        seen = {}
        fit = machine_labels.fit_label_combination
        monkeypatch.setattr(machine_labels, "fit_label_combination", lambda **given: seen.update(given) or fit(**given))
        delivery.current(project=mixed, by=owner_of(mixed))
        assert seen["gold"].tolist() == [0, NONE]

    def test_a_label_given_in_sight_of_the_machine_is_no_reference(self, mixed):
        snapshot, _ = training.take_snapshot(mixed, np.ones((2, 3), dtype=np.float32))
        assert snapshot.gold.tolist() == [0, 0]
        assert snapshot.reference.tolist() == [True, False]


class TestSilver:
    VECTORS = ((0.5, 0.25, 0.25), (0.125, 0.25, 0.625), (0.25, 0.5, 0.25), None)

    @pytest.fixture
    def prompt(self, project):
        """The machine says red, blue, green, nothing valid, and was not asked about the fifth item."""
        items = make_items(project, 5)
        prompt = make_silver(project, items[:4])
        tell(prompt, items[:4], self.VECTORS)
        return prompt

    def test_of_one_version_it_is_what_was_stored_to_the_last_bit(self, project, prompt):
        silver = silver_of(project, prompt)
        assert silver.label.tolist() == [0, 2, 1, 3, NONE]
        assert silver.probabilities[:3].tobytes() == np.array(self.VECTORS[:3], dtype="<f4").tobytes()
        assert np.isnan(silver.probabilities[3:]).all()

    def test_merged_labels_add_up(self, project, prompt):
        change(project, ("cold", ["green", "blue"]), "red")
        silver = silver_of(project, prompt)
        assert (silver.n_classes, silver.label.tolist()) == (2, [1, 0, 0, 2, NONE])
        assert silver.probabilities[:3].tolist() == [[0.5, 0.5], [0.875, 0.125], [0.75, 0.25]]

    def test_a_retired_label_is_no_valid_answer(self, project, prompt):
        change(project, "red", "green")
        silver = silver_of(project, prompt)
        assert silver.label.tolist() == [0, 2, 1, 2, NONE]
        assert silver.failed.tolist() == [False, True, False, True, False]
        assert silver.probabilities[[0, 2]] == pytest.approx(np.array([[2, 1], [1, 2]]) / 3)
        assert np.isnan(silver.probabilities[1]).all()

    def test_a_split_label_reads_as_the_declared_part_and_is_unsure(self, project, prompt):
        split_blue(project)
        silver = silver_of(project, prompt)
        assert silver.label.tolist() == [0, 2, 1, 4, NONE]
        assert silver.probabilities[0].tolist() == [0.5, 0.25, 0.25, 0]
        assert np.isnan(silver.probabilities[1]).all()

    def test_moved_labels_keep_every_bit(self, project, prompt):
        odd = np.float32([0.1, 0.2, 0.7]) + np.float32(1e-8)
        tell(prompt, list(project.items.order_by("ordinal")[:1]), [odd])
        change(project, "blue", ("crimson", ["red"]), "green")
        assert silver_of(project, prompt).probabilities[0].tobytes() == odd[[2, 0, 1]].tobytes()


class TestSamples:
    def test_each_is_complete_up_to_the_cut_off_of_the_labels(self, project):
        items = make_items(project, 6)  # in the order of their random numbers
        draw(items[:3], Arm.AUDIT)
        draw(items[3:], Arm.RANDOM)
        LabelSchema.objects.update(audit_cutoff=items[1].prn, reference_cutoff=items[4].prn)
        found, history = pool.load(project), labels.current(project)
        assert np.flatnonzero(pool.sample(found, history, Arm.AUDIT)).tolist() == [0, 1]
        assert np.flatnonzero(pool.sample(found, history, Arm.RANDOM)).tolist() == [4, 5]
        assert pool.drawn(found, project, Arm.AUDIT, Arm.RANDOM).all()

    def test_without_cut_offs_each_is_all_that_was_drawn(self, project):
        items = make_items(project, 3)
        draw(items[:2], Arm.AUDIT)
        assert pool.sample(pool.load(project), labels.current(project), Arm.AUDIT).tolist() == [True, True, False]
