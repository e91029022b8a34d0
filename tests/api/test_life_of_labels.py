"""A project lived through by API: label, change the labels, take that back, change them again, label on, export.

180 items in the order of their permanent random numbers, r = 0 ... 179, whose topic follows from the last digit of r.
The machine was asked under the first labels, and errs where `SAID` tells. What is counted here by hand:

- Round 1 (batch 60) audits r = 0 ... 11 and takes r = 132 ... 179 as the reference sample.
- The change splits animal (digits 3 and 6) and adds boat, which takes from bus (digits 4 and 7): void is the gold of
  these four digits, 4 items of the audit (3, 4, 6, 7) and 4 + 16 of the reference sample.
- Round 2 (batch 100: 25 audit, 10 reference) asks the 4 void audit items again and r = 12 ... 32 for the first time.
- The machine is then wrong on dogs (digit 6: its animal reads as cat), boats (digit 7: its bus reads as vehicle) and
  where it was wrong before: of r = 0 ... 32 on 6, 16, 26, 7, 17, 27, and on 2, 9, 11, 20 (r = 1 said bus for a car:
  both are vehicle now). 33 - 10 = 23 are right.
"""

import itertools
import json

import pytest

from annotate.modalities import modality
from models_ml import randomness
from tests.annotate.asking import problems
from tests.api.conftest import Program
from tests.api.test_cases import done
from tests.factories import make_project, owner_of

pytestmark = [pytest.mark.django_db, pytest.mark.portable]

N = 180
FIRST = ("animal", "car", "bus", "dish")
TOPICS = ("dish", "car", "dish", "cat", "bus", "car", "dog", "boat", "car", "dish")
BEFORE = {"cat": "animal", "dog": "animal", "car": "car", "bus": "bus", "boat": "bus", "dish": "dish"}
AFTER = {"cat": "cat", "dog": "dog", "car": "vehicle", "bus": "vehicle", "boat": "boat", "dish": "food"}
SAID = {1: "bus", 2: "car", 9: None, 11: "animal", 20: None, 140: "bus", 141: "bus", 150: None}
READS = {"animal": "cat", "car": "vehicle", "bus": "vehicle", "dish": "food"}  # machine labels, after the change
CHANGE = {
    "labels": [
        {"name": "food", "was": ["dish"]},
        {"name": "vehicle", "was": ["car", "bus"]},
        {"name": "cat", "was": ["animal"], "machine_labels": True},
        {"name": "dog", "was": ["animal"]},
        {"name": "boat", "was": [], "takes_from": ["bus"]},
    ]
}


class Life:
    def __init__(self):
        self.project = make_project(labels=FIRST)
        self.program = Program(owner_of(self.project), project=self.project)
        self.keys = itertools.count()
        self.texts = self._texts()

    def _texts(self):
        """By r, texts whose permanent random numbers are in the order of r."""

        def number(text):
            return randomness.unit_interval(bytes(self.project.key), modality("text").content_hash({"text": text}))

        ordered = sorted((f"item {n} of a pool" for n in range(N)), key=number)
        return {text: r for r, text in enumerate(ordered)}

    def topic(self, text):
        return TOPICS[self.texts[text] % 10]

    def run(self, kind, **parameters):
        return done(self.program.post("runs", {"kind": kind, "parameters": parameters}, Idempotency_Key=self.key()))

    def key(self):
        return f"key {next(self.keys)}"

    def take_in(self):
        rows = [
            {"id": str(r), "text": text, "machine": SAID.get(r, BEFORE[self.topic(text)])}
            for text, r in self.texts.items()
        ]
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        sent = self.program.post("uploads?file_name=x.jsonl", content, content_type="application/jsonl").json()
        columns = {"text": "text", "id": "id", "silver": "machine"}
        done(self.program.post("imports", {"upload": sent["id"], "columns": columns}, Idempotency_Key=self.key()))

    def answer_all(self, words):
        """Answer what is asked by the labels in force; returns the r of what was asked."""
        asked = []
        while (found := self.program.post("label/next", {"n": 3}).json())["questions"]:
            labels = self.program.get(f"schemas/{found['schema']}").json()["labels"]
            names = [one["name"] for one in labels]
            for one in found["questions"]:
                text = one["payload"]["text"]
                said = {"lease": one["lease"], "label": names.index(words[self.topic(text)])}
                made = self.program.post("label/submit", said, Idempotency_Key=self.key())
                assert made.status_code == 201, made.content
                asked.append(self.texts[text])
        return asked

    def figure(self, estimand):
        found = self.program.get("estimates").json()["results"]
        return next(one for one in reversed(found) if one["estimand"] == estimand)

    def exported(self):
        made = self.program.post(
            "runs", {"kind": "export", "parameters": {"formats": ["jsonl"]}}, Idempotency_Key=self.key()
        )
        done(made)
        export = self.program.get(f"exports/{made.json()['id']}").json()
        (name,) = [one["name"] for one in export["files"] if one["name"].endswith(".jsonl")]
        body = self.program.get(f"exports/{made.json()['id']}/files/{name}")
        return [json.loads(line) for line in b"".join(body.streaming_content).splitlines()]


@pytest.fixture
def life():
    life = Life()
    life.take_in()
    life.run("draw", batch=60)
    assert sorted(life.answer_all(BEFORE)) == [*range(12), *range(132, 180)]
    life.run("close")
    return life


def test_figures_are_those_counted_by_hand(life):
    seen = life.program.post("schemas/preview", CHANGE).json()
    assert (seen["n_void"], seen["n_asked_again"], seen["keeps_models"]) == (24, 24, False)
    # Taken back before the first answer: everything is as before.
    assert life.program.post("schemas", CHANGE).json()["version"] == 2
    assert life.program.delete("schemas/2").status_code == 200
    assert life.program.post("schemas/preview", CHANGE).json() == seen
    made = life.program.post("schemas", CHANGE)
    assert made.status_code == 201, made.content

    life.run("draw", batch=100)
    asked = life.answer_all(AFTER)
    assert {r for r in asked if r < 33} == {3, 4, 6, 7, *range(12, 33)}
    life.run("close")
    life.run("train")
    life.run("estimate")
    llm = life.figure("llm")
    assert (llm["value"], llm["n"], llm["n_unresolved"], llm["population"]) == (pytest.approx(23 / 33), 33, 0, N)
    assert problems(life.project) == {}

    # Gold: the 36 labels of round 1 that still read, and what round 2 asked. Every row names today's labels.
    rows = life.exported()
    assert sum(row["label_source"] == "gold" for row in rows) == 36 + len(asked)
    assert {row["schema_version"] for row in rows} == {3}
    for row in rows:
        r = int(row["external_id"])
        if row["label_source"] == "gold":
            assert row["label"] == AFTER[TOPICS[r % 10]]
        said = SAID.get(r, BEFORE[TOPICS[r % 10]])
        assert row["silver_label"] == (None if said is None else READS[said])
