"""Files in: nothing is lost, doubled, or half visible."""

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.db import connection

from annotate import items
from annotate.errors import AccessDenied, Conflict, InvalidInput, NotFound
from annotate.imports import ingest, writer
from annotate.imports.rows import Kind
from annotate.modalities import text
from annotate.models import (
    Draw,
    Event,
    Gold,
    Import,
    Item,
    ItemPayload,
    Label,
    Prediction,
    RejectedRow,
    Run,
)
from annotate.models.base import database_now
from annotate.runs import lifecycle
from models_ml import randomness
from tests import databases
from tests.factories import make_member, make_project, make_user, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 4)


def take_in(project, path, **options) -> Import:
    return ingest.import_items(project=project, path=path, by=owner_of(project), **options)


def take_in_rows(project, tmp_path, rows, name="items.jsonl", **options) -> Import:
    return take_in(project, write_jsonl(tmp_path / name, rows), **options)


def take_in_bytes(project, tmp_path, content: bytes, **options) -> Import:
    path = tmp_path / "items.jsonl"
    path.write_bytes(content)
    return take_in(project, path, **options)


def pool_of(project) -> list[Item]:
    return list(Item.objects.filter(project=project).in_pool().order_by("ordinal"))


def only_rejected(source: Import) -> RejectedRow:
    return source.rejected_rows.get(kind=RejectedRow.Kind.REJECTED)


def ordinals(project) -> list[int]:
    return list(Item.objects.filter(project=project).order_by("ordinal").values_list("ordinal", flat=True))


GOOD = b'{"id": "good", "text": "a good line"}\n'

# What the broken line is, the reason that its quarantine names.
BROKEN = {
    "wrong encoding": (b'{"text": "caf\xe9"}', "is not UTF-8"),
    "NUL": (b'{"text": "a\x00b"}', "NUL"),
    "escaped NUL": (b'{"text": "a\\u0000b"}', "NUL"),
    "NUL in metadata": (b'{"text": "ab", "note": "\\u0000"}', "NUL"),
    "a line over 1 MB": (b'{"text": "' + b"x" * 1_100_000 + b'"}', "longer than 1,000,000 bytes"),
    "a very long text": (b'{"text": "' + b"x" * 300_000 + b'"}', "300,000 characters"),
    "broken JSON": (b'{"text": "a', "is not JSON"),
    "an array": (b'["a", "b"]', "is an array, not an object"),
    "no text": (b'{"id": 1}', 'has no "text"'),
    "null text": (b'{"text": null}', 'has no "text"'),
    "empty text": (b'{"text": "  "}', '"text" is empty'),
    "text that is a number": (b'{"text": 5}', "not a string"),
    "NaN": (b'{"text": "a", "score": NaN}', "NaN"),
    "Infinity": (b'{"text": "a", "score": Infinity}', "Infinity"),
    "a lone surrogate": (b'{"text": "\\ud83d"}', "lone surrogate"),
    "a large integer": (b'{"text": "a", "n": 12345678901234567890}', "64 bits"),
    "a large id": (b'{"text": "a", "id": 12345678901234567890}', "64 bits"),
    "an id too long": (b'{"text": "a", "id": "' + b"i" * 201 + b'"}', "201 characters"),
    "an id that is a list": (b'{"text": "a", "id": ["b"]}', "neither a string nor an integer"),
    "an id that is true": (b'{"text": "a", "id": true}', "neither a string nor an integer"),
    "an id that is a fraction": (b'{"text": "a", "id": 1.5}', "neither a string nor an integer"),
    "an empty id": (b'{"text": "a", "id": ""}', '"id" is empty'),
    "deep nesting": (b'{"text": "a", "x": ' + b"[" * 400 + b"]" * 400 + b"}", "nested deeper"),
    "very deep nesting": (b'{"text": "a", "x": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", "nested deeper"),
    "a duplicate id": (b'{"id": "good", "text": "other"}', "already belongs to an item with other content"),
}


class TestQuarantine:
    @pytest.mark.parametrize("case", BROKEN)
    def test_it_sets_a_broken_line_aside_with_line_and_reason(self, project, tmp_path, case):
        raw, reason = BROKEN[case]
        source = take_in_bytes(project, tmp_path, GOOD + b"\n" + raw + b"\r\n" + GOOD.replace(b"good", b"b"))
        row = only_rejected(source)
        assert (row.line, reason in row.reason) == (3, True), row.reason
        assert (source.n_items, source.n_rejected, source.state) == (2, 1, "complete")

    @pytest.mark.parametrize("case", BROKEN)
    def test_it_keeps_a_printable_excerpt(self, project, tmp_path, case):
        row = only_rejected(take_in_bytes(project, tmp_path, GOOD + BROKEN[case][0]))
        assert row.excerpt and row.excerpt.isprintable()

    def test_it_sets_an_unknown_gold_label_aside(self, project, tmp_path):
        rows = [{"id": "a", "text": "a", "gold": "perhaps"}, {"id": "b", "text": "b", "gold": ["yes"]}]
        source = take_in_rows(project, tmp_path, rows, gold_field="gold")
        assert [row.reason for row in source.rejected_rows.order_by("line")] == [
            "the gold label 'perhaps' is none of the project's labels",
            "the gold label '(list)' is none of the project's labels",
        ]
        assert source.rejected_rows.get(line=1).external_id == "a"

    def test_it_completes_a_file_of_nothing_but_broken_lines(self, project, tmp_path):
        source = take_in_bytes(project, tmp_path, b"one\ntwo\n")
        assert (source.state, source.n_items, source.n_rejected) == ("complete", 0, 2)

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda path: path.write_bytes(b""), "is empty"),
            (lambda path: path.write_bytes(gzip.compress(GOOD * 999)[:-20]), "ends too early"),
            (lambda path: path.mkdir(), "is a directory"),
            (lambda path: None, "There is no file"),
            (os.mkfifo, "not a regular file"),
        ],
    )
    def test_it_refuses_a_file_that_cannot_be_read_and_stores_nothing(self, project, tmp_path, make, reason):
        make(tmp_path / "items.jsonl")
        with pytest.raises(InvalidInput, match=reason):
            take_in(project, tmp_path / "items.jsonl")
        assert not Import.objects.exists() and not Item.objects.exists()

    def test_it_refuses_a_file_that_grows_while_it_is_read(self, project, tmp_path, monkeypatch):
        path = write_jsonl(tmp_path / "items.jsonl", rows_of(3))
        store = writer.Writer.store

        def grow(self, chunk):
            store(self, chunk)
            path.write_bytes(path.read_bytes() + GOOD)

        monkeypatch.setattr(writer.Writer, "store", grow)
        with pytest.raises(Conflict, match="was written to while it was read"):
            take_in(project, path)
        assert pool_of(project) == []


class TestItems:
    def test_it_keeps_text_id_and_every_other_column(self, project, tmp_path):
        row = {"id": 7, "text": "Grüße 😀", "source": "mail", "nested": {"a": [1, None, 0.5]}}
        take_in_rows(project, tmp_path, [row])
        [item] = pool_of(project)
        assert item.external_id == "7"
        assert item.content.payload == {"text": "Grüße 😀"}
        assert item.content.metadata == {"source": "mail", "nested": {"a": [1, None, 0.5]}}

    def test_it_needs_no_ids(self, project, tmp_path):
        take_in_rows(project, tmp_path, [{"text": "a"}, {"text": "b"}, {"id": None, "text": "c"}])
        assert [item.external_id for item in pool_of(project)] == [None, None, None]

    def test_it_gives_each_item_its_permanent_numbers(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(30))
        for item in pool_of(project):
            digest = text.content_hash(item.content.payload)
            assert item.content_hash == digest
            assert item.prn == randomness.unit_interval(bytes(project.key), digest)
            assert item.fold == randomness.fold(bytes(project.key), digest, project.n_folds)

    def test_it_numbers_items_densely_across_imports(self, project, tmp_path, small_chunks):
        take_in_rows(project, tmp_path, rows_of(7))
        take_in_rows(project, tmp_path, rows_of(6) + rows_of(5, "more"))
        project.refresh_from_db()
        assert ordinals(project) == list(range(12))
        assert project.next_ordinal == 12

    def test_it_reads_gzip(self, project, tmp_path):
        path = tmp_path / "items.jsonl.gz"
        path.write_bytes(gzip.compress(GOOD))
        assert take_in(project, path).n_items == 1

    def test_it_bounds_a_chunk_by_its_bytes(self, project, tmp_path, monkeypatch):
        monkeypatch.setattr(ingest, "CHUNK_BYTES", 1_000)
        sizes = []
        store = writer.Writer.store
        monkeypatch.setattr(writer.Writer, "store", lambda self, chunk: (sizes.append(len(chunk)), store(self, chunk)))
        take_in_rows(project, tmp_path, [{"text": f"{i}" + "x" * 600} for i in range(5)])
        assert sizes == [2, 2, 1]

    def test_it_records_what_came_in(self, project, tmp_path):
        take_in_rows(project, tmp_path, [*rows_of(2), *rows_of(1), {"id": "x"}])
        event = Event.objects.get(kind="import.completed")
        assert event.actor == owner_of(project)
        assert {key: event.data[key] for key in ("n_items", "n_duplicates", "n_rejected", "n_revived")} == {
            "n_items": 2,
            "n_duplicates": 1,
            "n_rejected": 1,
            "n_revived": 0,
        }

    def test_it_reports_progress_in_lines(self, project, tmp_path, small_chunks):
        seen = []
        take_in_rows(project, tmp_path, rows_of(10), show=lambda done, total: seen.append((done, total)))
        assert (4, 10) in seen and seen[-1] == (10, 10)

    def test_it_counts_as_many_lines_as_it_kept(self, project, tmp_path):
        source = take_in_rows(project, tmp_path, [*rows_of(3), *rows_of(2), {"id": 1}, [1]])
        kinds = list(source.rejected_rows.values_list("kind", flat=True))
        assert (kinds.count("rejected"), kinds.count("duplicate")) == (source.n_rejected, source.n_duplicates)

    def test_it_belongs_to_those_who_manage(self, project, tmp_path):
        path = write_jsonl(tmp_path / "x", rows_of(1))
        with pytest.raises(AccessDenied):
            ingest.import_items(project=project, path=path, by=make_member(project))
        with pytest.raises(NotFound):
            ingest.import_items(project=project, path=path, by=make_user("Sam"))

    def test_it_keeps_projects_apart(self, project, tmp_path):
        other = make_project()
        take_in_rows(project, tmp_path, rows_of(3))
        take_in_rows(other, tmp_path, rows_of(3))
        assert ordinals(project) == ordinals(other) == [0, 1, 2]


class TestDuplicates:
    def test_it_makes_one_item_of_equal_content(self, project, tmp_path, small_chunks):
        rows = [{"id": f"r{i}", "text": "the same"} for i in range(6)]
        source = take_in_rows(project, tmp_path, rows)
        assert (source.n_items, source.n_duplicates) == (1, 5)
        lines = source.rejected_rows.filter(kind="duplicate").order_by("line")
        assert list(lines.values_list("line", "external_id")) == [(i + 1, f"r{i}") for i in range(1, 6)]

    def test_it_takes_a_whole_file_again_without_effect(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(5))
        before = [(item.pk, item.public_id) for item in pool_of(project)]
        source = take_in_rows(project, tmp_path, rows_of(5))
        assert (source.n_items, source.n_duplicates) == (0, 5)
        assert [(item.pk, item.public_id) for item in pool_of(project)] == before

    @pytest.mark.parametrize("gap", [0, 9])
    def test_it_rejects_an_id_that_comes_again_with_other_content(self, project, tmp_path, small_chunks, gap):
        rows = [{"id": 1, "text": "first"}, *rows_of(gap), {"id": "1", "text": "second"}]
        source = take_in_rows(project, tmp_path, rows)
        assert only_rejected(source).line == gap + 2
        assert [item.external_id for item in pool_of(project)][0] == "1"

    def test_it_rejects_a_duplicate_that_takes_the_id_of_another_item(self, project, tmp_path):
        rows = [{"id": "a", "text": "first"}, {"id": "b", "text": "second"}, {"id": "a", "text": "second"}]
        assert only_rejected(take_in_rows(project, tmp_path, rows)).line == 3

    def test_it_leaves_an_item_its_id_when_a_duplicate_brings_another(self, project, tmp_path):
        rows = [{"id": "a", "text": "same"}, {"id": "b", "text": "same"}, {"id": "b", "text": "other"}]
        source = take_in_rows(project, tmp_path, rows)
        assert (source.n_items, source.n_duplicates, source.n_rejected) == (2, 1, 0)


class TestRevival:
    def withdraw(self, project, *ids):
        items.withdraw(project=project, external_ids=ids, by=owner_of(project))

    def test_it_brings_a_withdrawn_item_back_as_it_was(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(3))
        before = list(Item.objects.order_by("ordinal").values())
        self.withdraw(project, "item-1")
        source = take_in_rows(project, tmp_path, rows_of(3))
        assert (source.n_revived, source.n_items, source.n_duplicates) == (1, 0, 2)
        assert list(Item.objects.order_by("ordinal").values()) == before

    def test_it_takes_the_new_external_id(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(1))
        self.withdraw(project, "item-0")
        take_in_rows(project, tmp_path, [{"id": "new", "text": "item number 0"}])
        assert pool_of(project)[0].external_id == "new"

    def test_it_keeps_its_id_when_the_file_gives_none(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(1))
        self.withdraw(project, "item-0")
        take_in_rows(project, tmp_path, [{"text": "item number 0"}])
        assert pool_of(project)[0].external_id == "item-0"

    def test_it_comes_back_without_an_id_that_somebody_else_took(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(1))
        self.withdraw(project, "item-0")
        take_in_rows(project, tmp_path, [{"id": "item-0", "text": "another text"}])
        source = take_in_rows(project, tmp_path, [{"text": "item number 0"}])
        assert source.n_revived == 1
        assert sorted(str(item.external_id) for item in pool_of(project)) == ["None", "item-0"]

    def test_it_stays_withdrawn_until_the_import_is_complete(self, project, tmp_path, monkeypatch, small_chunks):
        take_in_rows(project, tmp_path, rows_of(10))
        self.withdraw(project, "item-0", "item-9")
        stop_after(monkeypatch, 1)
        with pytest.raises(Stop):
            take_in_rows(project, tmp_path, rows_of(10), "again.jsonl")
        assert len(pool_of(project)) == 8
        monkeypatch.undo()
        source = take_in(project, tmp_path / "again.jsonl")
        assert (len(pool_of(project)), source.n_revived) == (10, 2)

    def test_it_comes_back_once_however_often_the_file_holds_it(self, project, tmp_path, small_chunks):
        take_in_rows(project, tmp_path, rows_of(6))
        self.withdraw(project, "item-0")
        source = take_in_rows(project, tmp_path, [*rows_of(6), *rows_of(1), *rows_of(1)])
        assert (source.n_revived, source.n_duplicates) == (1, 7)

    def test_it_holds_its_new_id_against_later_rows(self, project, tmp_path, small_chunks):
        take_in_rows(project, tmp_path, rows_of(6))
        self.withdraw(project, "item-0")
        rows = [{"id": "new", "text": "item number 0"}, *rows_of(6)[1:], {"id": "new", "text": "other"}]
        assert only_rejected(take_in_rows(project, tmp_path, rows)).line == 7

    def test_it_lets_two_items_swap_their_ids(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(2))
        self.withdraw(project, "item-0", "item-1")
        rows = [{"id": "item-1", "text": "item number 0"}, {"id": "item-0", "text": "item number 1"}]
        take_in_rows(project, tmp_path, rows)
        assert [item.external_id for item in pool_of(project)] == ["item-1", "item-0"]

    def test_it_brings_back_a_whole_withdrawn_import(self, project, tmp_path, small_chunks):
        take_in_rows(project, tmp_path, rows_of(11))
        self.withdraw(project, *(row["id"] for row in rows_of(11)))
        source = take_in_rows(project, tmp_path, rows_of(11))
        assert (source.n_revived, len(pool_of(project))) == (11, 11)
        assert source.rejected_rows.filter(kind=Kind.REVIVED).count() == 11


class TestGold:
    def test_it_keeps_a_known_label_as_imported_gold(self, project, tmp_path):
        rows = [{"text": "a", "y": "yes"}, {"text": "b", "y": None}, {"text": "c"}, {"text": "d", "y": ""}]
        take_in_rows(project, tmp_path, rows, gold_field="y")
        [gold] = Gold.objects.all()
        assert (gold.label.name, gold.rule, gold.origin, gold.is_blind, gold.is_current) == (
            "yes",
            "imported",
            "imported",
            False,
            True,
        )
        [draw] = Draw.objects.all()
        assert (draw.item_id, draw.arm, draw.pi, draw.round) == (gold.item_id, "imported", None, None)
        assert draw.reason == "came with a label said to be gold"

    def test_it_takes_a_number_for_the_label_of_that_name(self, tmp_path):
        project = make_project(labels=("0", "1"))
        take_in_rows(project, tmp_path, [{"text": "a", "y": 1}], gold_field="y")
        assert Gold.objects.get().label.name == "1"

    def test_it_does_not_keep_labels_as_metadata(self, project, tmp_path):
        row = {"text": "a", "y": "yes", "s": "no", "p": 0.9, "other": 1}
        take_in_rows(project, tmp_path, [row], gold_field="y", silver_field="s", silver_confidence_field="p")
        assert ItemPayload.objects.get().metadata == {"p": 0.9, "other": 1}

    def test_it_adds_the_gold_of_a_duplicate_to_the_item_that_is_there(self, project, tmp_path):
        take_in_rows(project, tmp_path, [{"text": "a"}])
        source = take_in_rows(project, tmp_path, [{"text": "a", "y": "no"}], gold_field="y")
        assert Gold.objects.get().label.name == "no"
        assert source.rejected_rows.get().reason.endswith("its gold label was added to it")

    @pytest.mark.parametrize("gap", [0, 9])
    def test_it_rejects_gold_that_contradicts(self, project, tmp_path, small_chunks, gap):
        rows = [{"text": "a", "y": "no"}, *rows_of(gap), {"text": "a", "y": "yes"}, {"text": "a", "y": "no"}]
        source = take_in_rows(project, tmp_path, rows, gold_field="y")
        assert only_rejected(source).reason == "says gold is 'yes'; the same content has gold 'no' already"
        assert (Gold.objects.get().label.name, source.n_duplicates) == ("no", 1)

    def test_it_leaves_the_audits_own_answer_alone(self, project, tmp_path):
        take_in_rows(project, tmp_path, [{"text": "a"}])
        label = Label.objects.get(schema__project=project, name="yes")
        item = Item.objects.get()
        Gold.objects.create(project=project, item=item, label=label, rule="one_trusted", origin="audit", is_blind=True)
        source = take_in_rows(project, tmp_path, [{"text": "a", "y": "no"}], gold_field="y")
        assert source.n_rejected == 0
        assert sorted(Gold.objects.values_list("origin", "label__name")) == [("audit", "yes"), ("imported", "no")]


class TestSilver:
    def silver(self, project, tmp_path, *rows, **options) -> list[Prediction]:
        numbered = [{"text": f"text {i}", **row} for i, row in enumerate(rows)]
        take_in_rows(project, tmp_path, numbered, silver_field="llm", **options)
        return list(Prediction.objects.order_by("item__ordinal"))

    def test_it_takes_exactly_our_labels_and_never_the_nearest(self, project, tmp_path):
        rows = self.silver(
            project, tmp_path, {"llm": "no"}, {"llm": "No"}, {"llm": None}, {}, {"llm": " "}, {"llm": ["no"]}
        )
        assert [(row.status, row.label_index) for row in rows] == [
            ("ok", 1),
            ("out_of_set", None),
            ("missing", None),
            ("missing", None),
            ("empty", None),
            ("out_of_set", None),
        ]
        assert rows[1].message == "answered 'No'"

    def test_it_says_where_the_labels_came_from(self, project, tmp_path):
        [row] = self.silver(project, tmp_path, {"llm": "yes"})
        prompt = row.prompt
        assert (prompt.annotator, prompt.model, prompt.version) == ("imported", "llm", 1)
        assert prompt.schema == project.schemas.get()
        assert len(prompt.sha256) == 64

    def test_it_uses_one_prompt_version_for_every_file_with_this_column(self, project, tmp_path):
        self.silver(project, tmp_path, {"llm": "yes"})
        self.silver(project, tmp_path, {"text": "other", "llm": "no"})
        assert project.prompts.count() == 1
        assert Prediction.objects.count() == 2

    def test_it_knows_the_distribution_of_two_labels(self, tmp_path):
        project = make_project(labels=("neg", "pos"))
        rows = self.silver(
            project,
            tmp_path,
            {"llm": "pos", "p": 0.75},
            {"llm": "neg", "p": 0.75},
            {"llm": "neg", "p": 1},
            silver_confidence_field="p",
        )
        found = [row.vector().tolist() for row in rows]
        assert found == [[0.25, 0.75], [0.75, 0.25], [1.0, 0.0]]

    @pytest.mark.parametrize("p", [None, "0.9", 1.2, -0.1, True, [0.5]])
    def test_it_leaves_an_unusable_confidence_unknown(self, tmp_path, p):
        project = make_project(labels=("neg", "pos"))
        [row] = self.silver(project, tmp_path, {"llm": "pos", "p": p}, silver_confidence_field="p")
        assert (row.status, row.probabilities) == ("ok", None)

    def test_it_invents_no_distribution_over_three_labels(self, project, tmp_path):
        [row] = self.silver(project, tmp_path, {"llm": "yes", "p": 0.9}, silver_confidence_field="p")
        assert row.probabilities is None
        assert row.item.content.metadata == {"p": 0.9}

    def test_it_keeps_the_first_label_of_equal_content(self, project, tmp_path):
        self.silver(project, tmp_path, {"text": "a", "llm": "yes"}, {"text": "a", "llm": "no"})
        assert Prediction.objects.get().label_index == 0

    def test_it_adds_labels_to_items_that_are_there(self, project, tmp_path):
        take_in_rows(project, tmp_path, [{"text": "a"}])
        [row] = self.silver(project, tmp_path, {"text": "a", "llm": "yes"})
        assert row.item.external_id is None

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"gold_field": "text"}, "is the item itself"),
            ({"silver_field": "id"}, "is the item itself"),
            ({"gold_field": "y", "silver_field": "y"}, "different columns"),
            ({"silver_confidence_field": "p"}, "needs the column"),
        ],
    )
    def test_it_refuses_columns_that_cannot_be(self, project, tmp_path, options, reason):
        with pytest.raises(InvalidInput, match=reason):
            take_in_rows(project, tmp_path, rows_of(1), **options)


class TestLateImports:
    def test_it_puts_items_behind_a_mark_into_the_sample_at_once(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(20))
        project.audit_cutoff, project.reference_cutoff = 0.3, 0.7
        project.save()  # every field: the import must have told this instance how many ordinals are taken
        take_in_rows(project, tmp_path, rows_of(40, "late"))
        for item in pool_of(project):
            arms = list(item.draws.values_list("arm", flat=True))
            expected = ["audit"] if item.prn <= 0.3 else ["random"] if item.prn >= 0.7 else []
            assert arms == expected

    def test_it_stays_out_of_the_sample_while_it_is_hidden(self, project, tmp_path, monkeypatch, small_chunks):
        project.audit_cutoff, project.reference_cutoff = 0.5, 0.6
        project.save()
        stop_after(monkeypatch, 2)
        with pytest.raises(Stop):
            take_in_rows(project, tmp_path, rows_of(20))
        assert not Draw.objects.exists()


class Stop(Exception):
    """The crash."""


def stop_after(monkeypatch, n_chunks: int, *, inside: bool = False) -> None:
    """Crash after `n_chunks` committed ones: at the boundary, or inside the next one just before its cursor."""
    calls = []
    name = "_advance" if inside else "store"
    original = getattr(writer.Writer, name)

    def crash(self, *args):
        if len(calls) == n_chunks:
            raise Stop
        calls.append(1)
        return original(self, *args)

    monkeypatch.setattr(writer.Writer, name, crash)


def everything(project) -> list[tuple]:
    """All that an import stores, but for random and running numbers."""
    rows = Item.objects.filter(project=project).order_by("ordinal")
    stored = [
        (
            item.ordinal,
            item.external_id,
            item.content_hash,
            item.content.payload,
            item.content.metadata,
            sorted(item.gold.values_list("label__name", flat=True)),
            sorted(item.draws.values_list("arm", flat=True)),
            sorted(item.predictions.values_list("status", "label_index")),
        )
        for item in rows
    ]
    lines = RejectedRow.objects.filter(source__project=project).order_by("line")
    return [*stored, *lines.values_list("kind", "line", "reason", "external_id", "excerpt")]


def import_elsewhere(project):
    """An import that another machine performs now."""
    now = database_now()
    lease = {"host": "elsewhere", "lease_until": now + timedelta(minutes=1), "heartbeat_at": now}
    Run.objects.create(project=project, kind="import", state=Run.State.RUNNING, **lease)


class TestResume:
    ROWS = [
        *rows_of(6, y="yes", s="no"),
        {"id": "bad"},
        *rows_of(2),
        *rows_of(9, "more", y="no", s="what"),
        {"id": "item-0", "text": "other"},
    ]
    OPTIONS = {"gold_field": "y", "silver_field": "s"}

    @pytest.mark.parametrize("inside", [False, True])
    @pytest.mark.parametrize("n_chunks", range(5))
    def test_it_goes_on_where_it_stopped(self, project, tmp_path, monkeypatch, small_chunks, n_chunks, inside):
        path = write_jsonl(tmp_path / "items.jsonl", self.ROWS)
        undisturbed = make_project()
        take_in(undisturbed, path, **self.OPTIONS)
        with monkeypatch.context() as patch:
            stop_after(patch, n_chunks, inside=inside)
            with pytest.raises(Stop):
                take_in(project, path, **self.OPTIONS)
        stopped = project.imports.get()
        assert stopped.cursor == 4 * n_chunks
        assert pool_of(project) == []
        source = take_in(project, path, **self.OPTIONS)
        assert source.pk == stopped.pk
        assert everything(project) == everything(undisturbed)
        assert project.imports.values_list("n_items", "n_duplicates", "n_rejected").get() == (15, 2, 2)

    def test_it_goes_on_after_a_crash_at_the_very_end(self, project, tmp_path, monkeypatch):
        path = write_jsonl(tmp_path / "items.jsonl", rows_of(5))
        with monkeypatch.context() as patch:
            patch.setattr(ingest, "record", lambda *args, **kwargs: (_ for _ in ()).throw(Stop()))
            with pytest.raises(Stop):
                take_in(project, path)
        assert pool_of(project) == []
        assert take_in(project, path).n_items == 5

    def test_it_takes_over_from_a_process_that_is_gone(self, project, tmp_path, monkeypatch, small_chunks):
        path = write_jsonl(tmp_path / "items.jsonl", rows_of(10))
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            patch.setattr(lifecycle.Attempt, "finish", lambda *args, **kwargs: None)  # as a killed process does
            with pytest.raises(Stop):
                take_in(project, path)
        Run.objects.update(pid=2**22 + 1)
        take_in(project, path)
        run = Run.objects.get()
        assert (run.attempt, run.state) == (2, "succeeded")

    def test_it_refuses_another_file_and_says_what_to_do(self, project, tmp_path, monkeypatch, small_chunks):
        self.leave_unfinished(project, tmp_path, monkeypatch)
        with pytest.raises(Conflict, match=r"unfinished import of first.jsonl \(4 lines done.*--abandon"):
            take_in_rows(project, tmp_path, rows_of(3), "second.jsonl")

    def test_it_refuses_the_same_file_with_other_columns(self, project, tmp_path, monkeypatch, small_chunks):
        self.leave_unfinished(project, tmp_path, monkeypatch)
        with pytest.raises(Conflict, match="with the columns gold: none"):
            take_in(project, tmp_path / "first.jsonl", gold_field="y")

    def test_it_keeps_the_labels_it_began_with(self, project, tmp_path, monkeypatch, small_chunks):
        from annotate import projects

        path = write_jsonl(tmp_path / "first.jsonl", [{"text": f"{i}", "s": "yes"} for i in range(8)])
        with monkeypatch.context() as patch:
            stop_after(patch, 0)
            with pytest.raises(Stop):
                take_in(project, path, silver_field="s")
        project.prompts.all().delete()
        names = [projects.NewLabel(name) for name in ("no", "yes")]
        projects.add_schema(project=project, labels=names, by=owner_of(project))
        take_in(project, path, silver_field="s")
        assert set(Prediction.objects.values_list("prompt__schema__version", "label_index")) == {(1, 0)}

    def test_it_refuses_while_another_import_is_alive(self, project, tmp_path):
        import_elsewhere(project)
        with pytest.raises(Conflict, match="is running"):
            take_in_rows(project, tmp_path, rows_of(3))

    def leave_unfinished(self, project, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(Stop):
                take_in_rows(project, tmp_path, rows_of(10), "first.jsonl")


class TestAbandon:
    def abandon(self, project) -> int:
        return ingest.abandon_import(project=project, by=owner_of(project))

    def test_it_deletes_the_hidden_items_and_gives_their_ordinals_back(
        self, project, tmp_path, monkeypatch, small_chunks
    ):
        take_in_rows(project, tmp_path, rows_of(5))
        with monkeypatch.context() as patch:
            stop_after(patch, 2)
            with pytest.raises(Stop):
                take_in_rows(
                    project, tmp_path, rows_of(20, "more", y="yes", s="no"), "b", gold_field="y", silver_field="s"
                )
        assert self.abandon(project) == 8
        project.refresh_from_db()
        assert (ordinals(project), project.next_ordinal) == ([0, 1, 2, 3, 4], 5)
        assert ItemPayload.objects.count() == 5
        assert not Gold.objects.exists() and not Draw.objects.exists() and not Prediction.objects.exists()
        assert not project.prompts.exists()
        assert project.imports.get().state == "complete"
        take_in_rows(project, tmp_path, rows_of(3, "other"), "c")
        assert ordinals(project) == list(range(8))

    def test_it_leaves_withdrawn_items_withdrawn(self, project, tmp_path, monkeypatch, small_chunks):
        take_in_rows(project, tmp_path, rows_of(5))
        items.withdraw(project=project, external_ids=["item-0"], by=owner_of(project))
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(Stop):
                take_in_rows(project, tmp_path, rows_of(5), "b")
        self.abandon(project)
        assert len(pool_of(project)) == 4

    def test_it_starts_at_zero_again_after_a_first_import(self, project, tmp_path, monkeypatch, small_chunks):
        stop_after(monkeypatch, 1)
        with pytest.raises(Stop):
            take_in_rows(project, tmp_path, rows_of(20))
        self.abandon(project)
        project.refresh_from_db()
        assert project.next_ordinal == 0

    def test_it_needs_an_unfinished_import(self, project, tmp_path):
        take_in_rows(project, tmp_path, rows_of(1))
        with pytest.raises(Conflict, match="has no unfinished import"):
            self.abandon(project)

    def test_it_does_not_touch_an_import_that_is_alive(self, project):
        import_elsewhere(project)
        with pytest.raises(Conflict, match="is running"):
            self.abandon(project)


SCRIPT = """
import django, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "labelapp.settings"
django.setup()
from tests.factories import make_project, make_user
make_project(name="Killed", by=make_user("Olga"))
"""


class TestKill:
    """A real process, a real kill -9."""

    N = 40_000

    def test_it_loses_and_doubles_nothing(self, tmp_path):
        root, env = Path(__file__).parents[3], {**os.environ, "VAR_DIR": str(tmp_path)}
        env.pop("DATABASE_URL", None)
        databases.copy_to(tmp_path / "goldloop.sqlite3")
        subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, env=env, check=True)
        path = tmp_path / "items.jsonl"
        path.write_bytes(b"".join(b'{"id": %d, "text": "text number %d"}\n' % (i, i) for i in range(self.N)))
        command = [sys.executable, "manage.py", "import_items", "killed", str(path)]
        database = sqlite3.connect(tmp_path / "goldloop.sqlite3", timeout=20)
        process = subprocess.Popen(command, cwd=root, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while not self.cursor(database) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        cursor = self.cursor(database)
        assert 0 < cursor < self.N
        assert self.one(database, "SELECT count(*) FROM annotate_item") == cursor
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True)
        assert f"{self.N:,} new items" in done.stdout
        query = "SELECT count(*), count(DISTINCT content_hash), max(ordinal) + 1 FROM annotate_item"
        assert database.execute(query).fetchone() == (self.N, self.N, self.N)
        assert self.one(database, "SELECT attempt FROM annotate_run") == 2
        assert self.one(database, "SELECT count(*) FROM annotate_rejectedrow") == 0

    def cursor(self, database) -> int:
        return self.one(database, "SELECT coalesce(max(cursor), 0) FROM annotate_import")

    @staticmethod
    def one(database, query: str) -> int:
        return database.execute(query).fetchone()[0]


def test_it_leaves_the_connection_as_it_was(project, tmp_path):
    def setting() -> int:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_autocheckpoint")
            return cursor.fetchone()[0]

    if connection.vendor == "sqlite":
        before = setting()
        take_in_rows(project, tmp_path, rows_of(1))
        assert setting() == before


def test_it_stores_json_as_the_orm_would(project, tmp_path):
    row = {"id": "x", "text": 'quotes " and \\ and \u2028', "m": {"ä": [True, None]}}
    take_in_rows(project, tmp_path, [row])
    stored = ItemPayload.objects.get()
    stored.save()
    stored.refresh_from_db()
    assert stored.payload == {"text": row["text"]} and stored.metadata == {"m": row["m"]}
    assert json.dumps(stored.payload) and np.isfinite(Item.objects.get().prn)
