"""The main job through the commands alone, on real text with the real encoder: from a file to an export."""

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from annotate.models import Estimate, Project, QueueEntry
from tests.factories import write_jsonl

DEMO = Path(settings.BASE_DIR) / "annotate" / "demo"
pytestmark = pytest.mark.django_db


def manage(name, *arguments):
    out = StringIO()
    call_command(name, *map(str, arguments), stdout=out, stderr=StringIO())
    return out.getvalue()


@pytest.fixture
def rows():
    lines = (DEMO / "banking77.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines][:240]


@pytest.fixture
def started(tmp_path, rows):
    """A project with items, made as the README says."""
    manage("create_user", "olga@example.org", "--no-password")
    manage("create_project", "Banking", DEMO / "labels.json", "--owner", "olga@example.org", "--seed", 1)
    manage("create_user", "ann@example.org", "--no-password", "--project", "banking", "--trusted")
    manage("set_guidelines", "banking", DEMO / "guidelines.md")
    questions = [{"id": row["id"], "text": row["text"], "channel": "chat"} for row in rows]
    manage("import_items", "banking", write_jsonl(tmp_path / "items.jsonl", questions))
    return Project.objects.get(slug="banking")


def answers_to(path, rows):
    """What Ann would answer to a file of questions."""
    truth = {row["id"]: row["label"] for row in rows}
    asked = [json.loads(line) for line in path.read_text().splitlines()]
    return [{"id": q["id"], "annotator": "ann@example.org", "label": truth[q["id"]], "seconds": 2} for q in asked]


def one_round(tmp_path, rows, index):
    questions = tmp_path / f"questions-{index}.jsonl"
    manage("sample", "banking", "--batch", 40, "--questions", questions)
    answers = write_jsonl(tmp_path / f"answers-{index}.jsonl", answers_to(questions, rows))
    said = manage("import_annotations", "banking", answers)
    manage("close_round", "banking")
    return said


@pytest.mark.portable  # tests/annotate/test_tasks.py has each step on both databases
def test_from_a_file_to_an_export(started, tmp_path, rows):
    assert "240 items" in manage("prelabel", "banking")
    assert "40 answers stored" in one_round(tmp_path, rows, 1)
    manage("train", "banking")
    one_round(tmp_path, rows, 2)
    assert "champion" in manage("train", "banking")
    assert "delivered labels" in manage("estimate", "banking")
    manage("export", "banking", "--out", tmp_path / "out")
    (manifest,) = (tmp_path / "out").glob("*.manifest.json")
    assert "everything that was checked holds" in manage("verify", "banking", "--rebuild", "--export", manifest)
    assert "Next:" in manage("status", "banking")

    (data,) = (tmp_path / "out").glob("*.jsonl")
    exported = [json.loads(line) for line in data.read_text().splitlines()]
    truth = {row["id"]: row["label"] for row in rows}
    gold = [row for row in exported if row["label_source"] == "gold"]
    assert len(exported) == 240
    assert len(gold) == 80
    assert all(row["label"] == truth[row["external_id"]] for row in gold)
    right = sum(row["label"] == truth[row["external_id"]] for row in exported) / len(exported)
    silver = sum(row["silver_label"] == truth[row["external_id"]] for row in exported) / len(exported)
    assert right > silver
    (table,) = (tmp_path / "out").glob("*.csv")
    with table.open(newline="", encoding="utf-8") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [row["label"] for row in exported]


def test_questions_carry_no_machine_answer(started, tmp_path):
    manage("prelabel", "banking")
    manage("sample", "banking", "--batch", 20, "--questions", tmp_path / "q.jsonl")
    for line in (tmp_path / "q.jsonl").read_text().splitlines():
        assert set(json.loads(line)) == {"id", "item", "text"}


def test_reading_the_same_answers_twice_changes_nothing(started, tmp_path, rows):
    manage("sample", "banking", "--batch", 20, "--questions", tmp_path / "q.jsonl")
    answers = write_jsonl(tmp_path / "a.jsonl", answers_to(tmp_path / "q.jsonl", rows))
    manage("import_annotations", "banking", answers)
    assert "0 answers stored, 20 were there already" in manage("import_annotations", "banking", answers)


def test_a_skip_of_the_only_person_who_could_answer_comes_back_once(started, tmp_path):
    started.members.exclude(user__email="olga@example.org").update(role="viewer")
    manage("sample", "banking", "--batch", 2, "--questions", tmp_path / "q.jsonl")
    asked = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    skips = [{"id": row["id"], "annotator": "olga@example.org", "skip": "unclear"} for row in asked]
    assert "2 answers stored" in manage("import_annotations", "banking", write_jsonl(tmp_path / "1.jsonl", skips))
    again = [{**row, "seconds": 3} for row in skips]
    assert "2 answers stored" in manage("import_annotations", "banking", write_jsonl(tmp_path / "2.jsonl", again))
    assert not QueueEntry.objects.exclude(state="skipped").exists()
    thrice = [{**row, "seconds": 4} for row in skips]
    said = manage("import_annotations", "banking", write_jsonl(tmp_path / "3.jsonl", thrice))
    assert "0 answers stored" in said


def test_refused_answers_name_line_and_reason_and_harm_nothing(started, tmp_path, rows):
    manage("sample", "banking", "--batch", 10, "--questions", tmp_path / "q.jsonl")
    good = answers_to(tmp_path / "q.jsonl", rows)
    bad = [
        {**good[0], "annotator": "sam@example.org"},
        {**good[0], "label": "no such label"},
        {**good[0], "id": "never asked"},
        {**good[0], "seconds": "long"},
        {"annotator": "ann@example.org", "label": good[0]["label"]},
        {"id": good[0]["id"], "annotator": "ann@example.org", "skip": "bored"},
        {**good[0], "skip": "unclear"},
        ["not", "an", "object"],
    ]
    path = write_jsonl(tmp_path / "a.jsonl", [*bad, *good])
    errors = StringIO()
    with pytest.raises(CommandError, match="Some lines were refused"):
        call_command("import_annotations", "banking", str(path), stdout=StringIO(), stderr=errors)
    for line, reason in enumerate(
        [
            "not a member",
            "not one of the labels",
            "not asked",
            "not a number",
            "neither",
            "no reason",
            "both",
            "not an object",
        ],
        start=1,
    ):
        assert any(f"line {line}:" in text and reason in text for text in errors.getvalue().splitlines()), reason
    assert QueueEntry.objects.filter(state=QueueEntry.State.ANSWERED).count() == 10


@pytest.mark.portable
def test_without_an_audit_there_is_no_figure_but_a_reason(started):
    manage("prelabel", "banking")
    said = manage("estimate", "banking")
    assert "no figure" in said
    assert not Estimate.objects.filter(value__isnull=False).exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "nowhere"),
        ("create_project", "X", "/nowhere.json", "--owner", "olga@example.org"),
        ("create_user", "not an e-mail"),
        ("close_round", "banking"),
        ("train", "banking"),
        ("sample", "banking", "--batch", "-1"),
        ("import_annotations", "banking", "/nowhere.jsonl"),
        ("sample", "banking", "--as", "nobody@example.org"),
    ],
)
def test_a_mistake_is_one_sentence(started, arguments):
    with pytest.raises(CommandError) as error:
        manage(*arguments)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith((".", "!", "`")), str(error.value)
