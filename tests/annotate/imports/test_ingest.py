"""Files in: nothing is lost, doubled, or half visible."""

import gzip
import json
import os

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
    Import,
    Item,
    ItemPayload,
)
from models_ml import randomness
from tests.annotate.imports.taking_in import (
    Stop,
    only_rejected,
    ordinals,
    pool_of,
    stop_after,
    take_in,
    take_in_bytes,
    take_in_rows,
)
from tests.factories import make_member, make_project, make_user, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db
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
        rows = [{"id": "a", "text": "a", "gold": "perhaps"}, {"id": "b", "text": "b", "gold": ["yes", "no"]}]
        source = take_in_rows(project, tmp_path, rows, gold_field="gold")
        assert [row.reason for row in source.rejected_rows.order_by("line")] == [
            "the gold label 'perhaps' is none of the project's labels",
            """the gold label '["yes","no"]' names several labels; an item has one""",
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
