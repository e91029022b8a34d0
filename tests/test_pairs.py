"""Pairs of texts through the commands, from a file to an export, with the real encoder."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.core.management import CommandError

from annotate import projects, simulation, vectors
from annotate.errors import InvalidInput
from annotate.models import Item, Project, PromptVersion
from tests.factories import make_project, owner_of, pair_rows_of, write_jsonl
from tests.test_loop import answers_to, manage

pytestmark = pytest.mark.django_db

ARABIC, HEBREW = "ما عاصمة مصر؟ \u202bالقاهرة\u202c", " שלום עולם \u200f(1)\r\n"
LONG = "one word after another, " * 5_000


def same_or_not(n=90):
    """Every other pair says the same twice."""
    topics = ("my dog chases the birds", "the bank raised its interest rates", "it rains in the mountains")
    rows = []
    for i in range(n):
        a, same = topics[i % 3], i % 2 == 0
        b = a if same else topics[(i + 1) % 3]
        label = "same" if same else "different"
        rows.append({"id": f"pair-{i}", "text_a": f"{a}, note {i}", "text_b": f"{b}, note {i}", "label": label})
    return rows


@pytest.fixture
def started(tmp_path):
    manage("create_user", "olga@example.org", "--no-password")
    labels = tmp_path / "labels.json"
    labels.write_text('["same", "different"]')
    manage("create_project", "Pairs", labels, "--owner", "olga@example.org", "--seed", 1, "--modality", "pair")
    manage("create_user", "ann@example.org", "--no-password", "--project", "pairs", "--trusted")
    return Project.objects.get(slug="pairs")


def take_in(project, tmp_path, rows):
    return manage("import_items", project.slug, write_jsonl(tmp_path / "items.jsonl", rows))


class TestLoop:
    @pytest.mark.portable
    def test_from_a_file_to_an_export(self, started, tmp_path):
        rows = same_or_not()
        take_in(started, tmp_path, [{key: row[key] for key in ("id", "text_a", "text_b")} for row in rows])
        assert "90 items" in manage("prelabel", "pairs")
        for index in (1, 2):
            questions = tmp_path / f"questions-{index}.jsonl"
            manage("sample", "pairs", "--batch", 20, "--questions", questions)
            asked = [json.loads(line) for line in questions.read_text().splitlines()]
            assert all(set(question) == {"id", "item", "text_a", "text_b"} for question in asked)
            answers = write_jsonl(tmp_path / f"answers-{index}.jsonl", answers_to(questions, rows))
            assert "20 answers stored" in manage("import_annotations", "pairs", answers)
            manage("close_round", "pairs")
            manage("train", "pairs")
        assert "delivered labels" in manage("estimate", "pairs")
        manage("export", "pairs", "--out", tmp_path / "out")
        (manifest,) = (tmp_path / "out").glob("*.manifest.json")
        assert "everything that was checked holds" in manage("verify", "pairs", "--rebuild", "--export", manifest)
        by_id = {row["id"]: row for row in rows}
        (data,) = (tmp_path / "out").glob("*.jsonl")
        exported = [json.loads(line) for line in data.read_text().splitlines()]
        assert [row["payload"] for row in exported] == [
            {field: by_id[row["external_id"]][field] for field in ("text_a", "text_b")} for row in exported
        ]
        (table,) = (tmp_path / "out").glob("*.csv")
        with table.open(newline="", encoding="utf-8") as file:
            cells = [(row["payload.text_a"], row["payload.text_b"]) for row in csv.DictReader(file)]
        assert cells == [(row["payload"]["text_a"], row["payload"]["text_b"]) for row in exported]

    def test_the_prompt_version_says_how_pairs_are_read(self, started, tmp_path):
        take_in(started, tmp_path, pair_rows_of(3))
        manage("prelabel", "pairs")
        parameters = PromptVersion.objects.get(project=started).parameters
        assert parameters == {"fields": ["text_a", "text_b"], "joined_by": "line break"}


class TestImport:
    def test_what_is_no_pair_is_set_aside_by_the_name_of_its_field(self, started, tmp_path):
        said = take_in(started, tmp_path, [{"id": 1, "text_a": "a"}, {"id": 2, "text_a": "a", "text_b": " "}])
        assert 'line 1: has no "text_b"' in said
        assert 'line 2: "text_b" is empty' in said

    def test_a_file_of_texts_is_told_that_the_project_is_of_pairs(self, started, tmp_path):
        said = take_in(started, tmp_path, [{"id": 1, "text": "a"}])
        assert 'line 1: has "text" but no pair; the items of this project are pairs' in said

    def test_a_file_of_pairs_is_told_that_the_project_is_of_texts(self, tmp_path):
        project = make_project()
        path = write_jsonl(tmp_path / "pairs.jsonl", pair_rows_of(1))
        assert "items of this project are single texts" in manage("import_items", project.slug, path)

    def test_the_order_of_a_pair_makes_it_another_item(self, started, tmp_path):
        take_in(started, tmp_path, [{"text_a": "x", "text_b": "y"}, {"text_a": "y", "text_b": "x"}])
        assert Item.objects.filter(project=started).count() == 2

    def test_the_same_pair_twice_is_one_item(self, started, tmp_path):
        assert "1 new items, 0 brought back, 1 duplicates" in take_in(
            started, tmp_path, [{"text_a": "x", "text_b": "y"}, {"text_b": "y", "text_a": "x"}]
        )

    @pytest.mark.parametrize(("a", "b"), [(ARABIC, HEBREW), (LONG, "e\u0301"), ("\u00e9\u2028", LONG)])
    def test_texts_are_kept_as_they_came(self, started, tmp_path, a, b):
        take_in(started, tmp_path, [{"text_a": a, "text_b": b, "label": "kept apart"}])
        content = Item.objects.get(project=started).content
        assert content.payload == {"text_a": a, "text_b": b}
        assert content.metadata == {"label": "kept apart"}

    def test_a_text_of_the_pair_carries_no_label(self, started, tmp_path):
        path = write_jsonl(tmp_path / "pairs.jsonl", pair_rows_of(1))
        with pytest.raises(CommandError, match="'text_b' is the item itself"):
            manage("import_items", "pairs", path, "--gold-field", "text_b")


class TestVectors:
    def test_they_grow_and_are_those_of_the_pairs(self, started, tmp_path):
        take_in(started, tmp_path, pair_rows_of(3))
        first = np.array(vectors.vectors_of(started))
        take_in(started, tmp_path, pair_rows_of(5))
        grown = vectors.vectors_of(started)
        encoder = vectors.encoder_of(started)
        assert np.array_equal(grown[:3], first)
        pairs = [(row["text_a"], row["text_b"]) for row in pair_rows_of(5)]
        assert grown == pytest.approx(encoder.encode(pairs), abs=1e-6)

    def test_their_file_is_not_that_of_texts(self, started):
        texts = make_project()
        assert Path(vectors.name_of(started)).name != Path(vectors.name_of(texts)).name
        assert vectors.encoder_of(texts).fingerprint == vectors.encoder_named("minilm").fingerprint


class TestCreateProject:
    def test_an_unknown_modality_is_a_sentence(self, tmp_path):
        (tmp_path / "labels.json").write_text('["a", "b"]')
        owner = owner_of(make_project()).email
        with pytest.raises(CommandError, match="Unknown modality 'smell'; there are: pair, text"):
            manage("create_project", "X", tmp_path / "labels.json", "--owner", owner, "--modality", "smell")
        assert not Project.objects.filter(slug="x").exists()

    def test_items_are_texts_unless_told(self, tmp_path):
        (tmp_path / "labels.json").write_text('["a", "b"]')
        manage("create_project", "X", tmp_path / "labels.json", "--owner", owner_of(make_project()).email)
        assert Project.objects.get(slug="x").modality == "text"


@pytest.mark.portable
def test_a_file_of_pairs_is_simulated(tmp_path, monkeypatch):
    rows = [{**row, "machine": "same"} for row in same_or_not()]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    monkeypatch.setenv("GOLDLOOP_SIMULATION", str(settings.DATABASES["default"]["NAME"]))
    options = ("--noisy-field", "machine", "--batch", 20, "--rounds", 1, "--json")
    record = json.loads(manage("simulate", "--train", path, "--test", path, *options))
    assert record["labels"] == 20
    assert record["llm_accuracy"] == 0.5
    assert record["model_accuracy"] > 0.5
    assert Project.objects.get().modality == "pair"


def test_a_row_of_another_modality_stops_a_simulation_by_its_line():
    labels = (projects.NewLabel("a"), projects.NewLabel("b"))
    rows = [{"id": 1, "text_a": "x", "text_b": "y", "label": "a"}, {"id": 2, "text": "x", "label": "a"}]
    with pytest.raises(InvalidInput, match='the pool, line 2: has "text" but no pair'):
        simulation.check_rows(rows, labels, "the pool", "pair")
