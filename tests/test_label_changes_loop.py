"""A project whose labels change while it lives, from import to export; every figure is counted by hand.

One hundred and eighty items in the order of their permanent random numbers, r = 0 ... 179. What an item is about
depends on the last digit of r; under the first labels people call cats and dogs "animal", and boats "bus":

    last digit          0     1    2     3       4    5    6       7    8    9
    it is about         dish  car  dish  cat     bus  car  dog     boat car  dish
    first labels        dish  car  dish  animal  bus  car  animal  bus  car  dish
    labels after that   food  vehicle food cat vehicle vehicle dog boat vehicle food

The machine was asked under the first labels and errs where `SAID` tells. The first round asks 60: the audit
r = 0 ... 11, the reference sample r = 132 ... 179. R, all but the reference sample, has 132 items.
"""

import json

import numpy as np
import pytest

from annotate import label_changes, labels, projects, rounds, samples, verification
from annotate.dataset import export
from annotate.imports import ingest
from annotate.label_changes import NextLabel
from annotate.learning import artefacts, delivery, estimation, training
from annotate.modalities import modality
from annotate.models import Estimate, Label, LabelSchema, QueueEntry, Round
from annotate.projects import NewLabel
from annotate.reports import confusion
from models_ml import randomness
from models_ml.intervals import hypergeometric_interval
from tests.annotate.asking import answer, problems
from tests.factories import make_project, owner_of, write_jsonl

pytestmark = [pytest.mark.django_db, pytest.mark.portable]
KIND = Estimate.Estimand

FIRST = ("animal", "car", "bus", "dish")
N = 180
TOPICS = ("dish", "car", "dish", "cat", "bus", "car", "dog", "boat", "car", "dish")
BEFORE = {"cat": "animal", "dog": "animal", "car": "car", "bus": "bus", "boat": "bus", "dish": "dish"}
AFTER = {"cat": "cat", "dog": "dog", "car": "vehicle", "bus": "vehicle", "boat": "boat", "dish": "food"}
SAID = {1: "bus", 2: "car", 9: None, 11: "animal", 20: None, 140: "bus", 141: "bus", 150: None}
TEXTS = {
    "cat": "The kitten purrs and sleeps on the sofa",
    "dog": "The puppy barks and fetches the stick",
    "car": "She parks her convertible in the garage",
    "bus": "Forty passengers wait for the number nine at the stop",
    "boat": "The sailors row across the lake to the harbour",
    "dish": "Stir the soup and season it with pepper",
}


def topic(r):
    return TOPICS[r % 10]


def plan():
    """Rename dish, merge car and bus, split animal (machine labels read as cat), add boat, which takes from bus."""
    return [
        NextLabel(NewLabel("food"), was=("dish",)),
        NextLabel(NewLabel("vehicle"), was=("car", "bus")),
        NextLabel(NewLabel("cat"), was=("animal",), takes_machine_labels=True),
        NextLabel(NewLabel("dog"), was=("animal",)),
        NextLabel(NewLabel("boat"), takes_from=("bus",)),
    ]


class Life:
    """One project, its items by r, and what its people say."""

    def __init__(self, folder):
        self.project = make_project(labels=FIRST)
        self.owner, self.folder = owner_of(self.project), folder
        self._import()
        self.items = list(self.project.items.order_by("prn"))
        self.r = {item.pk: r for r, item in enumerate(self.items)}

    def _import(self):
        texts = self._texts()
        rows = [{"id": str(r), "text": text, "machine": SAID.get(r, BEFORE[topic(r)])} for r, text in enumerate(texts)]
        path = write_jsonl(self.folder / "items.jsonl", rows)
        ingest.import_items(project=self.project, path=path, by=self.owner, silver_field="machine")

    def _texts(self):
        """For each r a text about its topic, such that the texts' random numbers are in the order of r."""

        def number(text):
            return randomness.unit_interval(bytes(self.project.key), modality("text").content_hash({"text": text}))

        texts = []
        for r in range(N):
            tries = (f"{TEXTS[topic(r)]}, {n}." for n in range(100_000))
            texts.append(next(text for text in tries if r / N < number(text) <= (r + 1) / N))
        return texts

    def say(self, entry, words):
        answer(entry, self.owner, words[topic(self.r[entry.item_id])])

    def round_one(self):
        current = rounds.draw_round(project=self.project, batch=60, by=self.owner)
        for entry in current.queue.order_by("position"):
            self.say(entry, BEFORE)
        rounds.close_round(project=self.project, by=self.owner)

    def change(self, new=None):
        return label_changes.change(project=self.project, new=new or plan(), by=self.owner)

    def ask_again(self, leave):
        """A round that asks the void gold of the samples again, without a new draw; `leave` stays without an answer."""
        schema = projects.current_schema(self.project)
        void = sorted(samples.to_ask_again(schema))
        current = Round.objects.create(
            project=self.project, index=2, batch=len(void), shares={}, strategy="margin", seed=1, opened_by=self.owner
        )
        fields = {"round": current, "overlap": 1, "is_blind": True}
        QueueEntry.objects.bulk_create(
            QueueEntry(item_id=item, position=place, **fields) for place, item in enumerate(void, start=1)
        )
        for entry in current.queue.order_by("position"):
            if self.r[entry.item_id] != leave:
                self.say(entry, AFTER)
        rounds.close_round(project=self.project, by=self.owner, force=True)
        samples.complete_samples(LabelSchema.objects.get(pk=schema.pk))
        return sorted(self.r[item] for item in void)

    def train(self):
        return training.train(project=self.project, by=self.owner)

    def figures(self):
        rows = estimation.estimate(project=self.project, by=self.owner)
        return {row.estimand: row for row in rows if row.label is None}

    def frozen(self):
        return delivery.current(project=self.project, by=self.owner)

    def export(self, name):
        """(path of the manifest, the rows by r, the manifest)."""
        path = export.export(delivered=self.frozen().row, by=self.owner, directory=self.folder / name)
        (data,) = path.parent.glob("*.jsonl")
        rows = [json.loads(line) for line in data.read_text().splitlines()]
        return path, {int(row["external_id"]): row for row in rows}, json.loads(path.read_text())


@pytest.fixture
def life(tmp_path):
    return Life(tmp_path)


def test_a_project_lives_through_a_change_of_labels(life):  # noqa: PLR0915  one life, in the order of its days
    life.round_one()
    assert [life.r[item.pk] for item in life.items] == list(range(N))

    # Of the 12 audited items the machine is wrong about 1 (bus for car), 2 (car for dish), 9 (failed), 11 (animal).
    first_model = life.train()
    first = life.figures()
    assert (first[KIND.LLM].value, first[KIND.LLM].n, first[KIND.LLM].population) == (8 / 12, 12, N)
    assert (first[KIND.LLM].low, first[KIND.LLM].high) == hypergeometric_interval(8, 12, N)
    assert first[KIND.MODEL].value == 1  # texts about one thing are nearly the same
    first_version = life.frozen().row
    assert first_version.model == first_model
    first_manifest, first_rows, _ = life.export("first")
    assert first_rows[1]["silver_label"] == "bus"
    assert problems(life.project) == {}

    # Undo before the first new answer: all is as it was, and so is the delivered version.
    life.change()
    assert problems(life.project) == {}
    label_changes.undo(project=life.project, by=life.owner)
    assert life.frozen().row == first_version
    assert problems(life.project) == {}

    # Void: animals (3, 6) and what was called bus (4, 7). The audit is complete up to 2, the reference from 178.
    schema = life.change()
    assert life.items[2].prn <= schema.audit_cutoff < life.items[3].prn
    assert life.items[177].prn < schema.reference_cutoff <= life.items[178].prn
    assert problems(life.project) == {}

    # The model is left behind: the LLM delivers alone. Of r = 0, 1, 2 it is wrong about 2 only: 1 is "bus", which reads
    # as vehicle. 20 items of A lost their gold (digits 3, 4, 6, 7 of 132 ... 179, five each), so c = 20, |A| = 48:
    # ((48 - 20) + 20 * 2/3 + 132 * 2/3 + (3 - 2)) / 180 = (28 + 13.333 + 88 + 1) / 180 = 0.724074...
    second = life.figures()
    assert life.frozen().row.model is None
    assert (second[KIND.LLM].value, second[KIND.LLM].n) == (2 / 3, 3)
    assert second[KIND.MODEL].reason == "no model is trained"
    assert second[KIND.DELIVERED].value == pytest.approx((28 + 40 / 3 + 88 + 1) / 180)
    # Ĉ from r = 178 (car) and 179 (dish), both said rightly: rows food, vehicle, cat, dog, boat; the last column: none.
    counts = confusion.load(life.frozen().row).counts
    assert counts.tolist() == [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], *[[0] * 6] * 3]
    # Gold: 60 less 20 of the reference sample and 4 of the audit (3, 4, 6, 7). Without a label: 20, as the LLM failed.
    _, rows, manifest = life.export("second")
    assert manifest["counts"] | {"by_split": None} == {
        "rows": 180, "gold": 36, "machine": 143, "unlabeled": 1, "by_split": None
    }  # fmt: skip
    assert (rows[0]["label"], rows[0]["label_source"]) == ("food", "gold")
    assert (rows[1]["label"], rows[1]["silver_label"], rows[1]["agreement"]) == ("vehicle", "vehicle", 1)
    assert (rows[3]["label"], rows[3]["label_source"], rows[3]["n_annotations"]) == ("cat", "machine", 0)
    assert (rows[20]["label"], rows[20]["label_source"], rows[20]["silver_label"]) == (None, None, None)
    assert {row["schema_version"] for row in rows.values()} == {schema.version}
    assert problems(life.project) == {}

    # Asked again: the 24 void ones of the samples. 7, a boat of the audit, stays without an answer.
    asked = life.ask_again(leave=7)
    assert asked == [r for r in (*range(12), *range(132, 180)) if r % 10 in (3, 4, 6, 7)]
    schema.refresh_from_db()
    assert (schema.audit_cutoff, schema.reference_cutoff) == (None, None)
    # The LLM, of 11 answered ones, is wrong about 2 (vehicle for food), 6 (a dog reads as cat), 9 (failed), 11 (cat);
    # n = 12, v = 1, k = 7. Delivered, with c = 0: (48 + 132 * 7/11 + (11 - 7)) / 180 = (48 + 84 + 4) / 180
    third = life.figures()
    row = third[KIND.LLM]
    assert (row.value, row.n, row.n_unresolved) == (7 / 11, 12, 1)
    low, high = hypergeometric_interval(7, 12, N)[0], hypergeometric_interval(8, 12, N)[1]
    assert (row.low, row.high) == (low, high)
    assert third[KIND.DELIVERED].value == pytest.approx(136 / 180)
    assert problems(life.project) == {}

    # Ĉ of the whole reference sample. food: digits 0 (140, 150, 160, 170), 2 and 9 (five each) = 14; 140 was called bus
    # (vehicle), 150 failed. vehicle: 4 + 5 + 5 + 5 = 19, all vehicle (141: bus for car). cat: 5. dog: 5, read as
    # cat. boat: 5, which the machine calls bus.
    model = life.train()
    expected = [
        [12, 1, 0, 0, 0, 1],
        [0, 19, 0, 0, 0, 0],
        [0, 0, 5, 0, 0, 0],
        [0, 0, 5, 0, 0, 0],
        [0, 5, 0, 0, 0, 0],
    ]
    assert (model.is_champion, model.metrics["won_by"]) == (True, "other_labels")
    assert (model.metrics["n_gold"], model.metrics["n_reference"]) == (48, 48)
    assert artefacts.load_version(model).counts.tolist() == expected
    fourth = life.figures()
    assert confusion.load(life.frozen().row).counts.tolist() == expected
    assert (fourth[KIND.MODEL].value, fourth[KIND.MODEL].n, fourth[KIND.MODEL].n_unresolved) == (1, 12, 1)
    assert fourth[KIND.LLM].value == 7 / 11
    # Delivered: k of the 11 as frozen, counted here.
    machine = life.frozen().at("label", np.array([item.ordinal for item in life.items]))
    order = {label.index: label.name for label in projects.labels_of(schema)}
    k = sum(order.get(int(machine[r])) == AFTER[topic(r)] for r in range(12) if r != 7)
    assert fourth[KIND.DELIVERED].value == pytest.approx((48 + 132 * k / 11 + (11 - k)) / 180)
    manifest_path, rows, manifest = life.export("fourth")
    assert [label["name"] for label in manifest["labels"]] == ["food", "vehicle", "cat", "dog", "boat"]
    # Gold: 60 less r = 7.
    assert (manifest["counts"]["gold"], manifest["counts"]["unlabeled"]) == (59, 0)
    assert all(row["label"] == AFTER[topic(r)] for r, row in rows.items() if row["label_source"] == "gold")
    assert problems(life.project) == {}

    # What was made under the first labels is still there and whole.
    assert verification.rebuild_problem(first_model) is None
    assert verification.rebuild_problem(model) is None
    assert export.verify_export(first_manifest) == export.verify_export(manifest_path) == []
    assert delivery.load(first_version).arrays["posterior"].shape == (N, 4)
    first_figures = first_version.estimates.filter(label__isnull=False).values_list("label__name", flat=True)
    assert set(first_figures) == set(FIRST)
    assert first_version.estimates.get(estimand=KIND.LLM).value == 8 / 12


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)], ids=["renamed", "renamed and moved"])
def test_names_and_order_change_nothing_else(life, order):
    """Delivered labels, figures and exports are those before, up to the names."""
    life.round_one()
    model = life.train()
    before, frozen = life.figures(), life.frozen()
    _, rows, _ = life.export("before")
    life.change([NextLabel(NewLabel(FIRST[i].upper()), was=(FIRST[i],)) for i in order])
    after, again = life.figures(), life.frozen()
    _, now, _ = life.export("after")

    assert again.row.model == model
    assert again.row.rule == frozen.row.rule
    for name in ("value", "low", "high", "n", "n_unresolved", "population", "method", "reason"):
        assert [getattr(before[kind], name) for kind in before] == [getattr(after[kind], name) for kind in before], name
    assert again.arrays["posterior"] == pytest.approx(frozen.arrays["posterior"][:, list(order)], abs=1e-4)
    for r, row in rows.items():
        given = now[r]
        for column in ("label", "silver_label", "model_label"):
            assert given[column] == (row[column] and row[column].upper())
        same = set(row) - {
            "label", "silver_label", "model_label", "label_probability", "model_probability", "schema_version"
        }  # fmt: skip
        assert {column: given[column] for column in same} == {column: row[column] for column in same}
        assert given["model_probability"] == row["model_probability"]
        assert given["label_probability"] == pytest.approx(row["label_probability"], abs=1e-4)
    assert problems(life.project) == {}


def test_a_version_that_follows_only_new_names_is_compared_with_the_one_before(life):
    """The incumbent's columns move with their labels, so its log-loss on today's reference sample is known."""
    life.round_one()
    first = life.train()
    life.change([NextLabel(NewLabel(name), was=(name,)) for name in reversed(FIRST)])
    second = life.train()
    facts = second.metrics
    assert facts["incumbent_log_loss_here"] == pytest.approx(facts["log_loss_here"], abs=1e-4)
    assert facts.get("won_by") in (None, "lower_log_loss")
    first.refresh_from_db()
    assert first.is_champion != second.is_champion


def test_labels_of_every_version_are_read_by_one_history(life):
    life.round_one()
    life.change()
    history = labels.current(life.project)
    assert len(history.label_ids) == Label.objects.filter(schema__project=life.project).count() == 9
