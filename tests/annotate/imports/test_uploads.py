"""Files that people send: kept whole, shown first, imported by a worker, and what was set aside can be had."""

import csv as stdlib
import io
import tracemalloc
from datetime import timedelta

import pytest

from annotate import files
from annotate.errors import AccessDenied, Conflict, FileDamaged, InvalidInput, NotFound
from annotate.imports import file_preview, ingest, preview, uploads
from annotate.models import Event, Gold, Import, Item, Prediction, RejectedRow, Run, Upload, bulk
from annotate.runs import lifecycle
from tests.annotate.imports.taking_in import Stop, interrupt, stop_after
from tests.bad_files import BAD_FILES, GOOD_CSV, ODD_FILES
from tests.factories import make_member, make_project, make_user, owner_of

pytestmark = pytest.mark.django_db


def send(project, content: bytes = GOOD_CSV, name: str = "items.csv") -> Upload:
    chunks = (content[start : start + 65_536] for start in range(0, len(content), 65_536))
    return uploads.receive(project=project, by=owner_of(project), file_name=name, chunks=chunks)


def look(upload: Upload, **options) -> preview.Preview:
    return preview.of_upload(upload=upload, by=owner_of(upload.project), **options)


def take_in(upload: Upload, columns: dict | None = None, **choices) -> Import:
    """Import it as the preview proposes, as a worker does."""
    seen = look(upload, dialect=choices)
    if seen.problem:
        raise InvalidInput(seen.problem)
    columns = seen.mapping if columns is None else columns
    options = {"dialect": seen.dialect.to_json(), "columns": columns}
    return ingest.import_upload(project=upload.project, by=owner_of(upload.project), upload=upload.public_id, **options)


def texts(project) -> list[str]:
    pool = Item.objects.filter(project=project).in_pool().order_by("ordinal")
    return [item.content.payload["text"] for item in pool]


class TestReceive:
    def test_it_keeps_the_bytes_under_a_name_of_its_own(self, project):
        sent = send(project)
        assert files.checked_path(sent.file, sent.file_sha256).read_bytes() == GOOD_CSV
        assert (sent.file_name, sent.n_bytes, sent.created_by) == ("items.csv", len(GOOD_CSV), owner_of(project))
        assert Event.objects.get(kind="upload.received").data["upload"] == sent.public_id

    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\olga\\items.csv", "items.csv"),
            ("a\x00b\r\n\u202ec.csv", "abc.csv"),
            ("..", "upload"),
            ("", "upload"),
            ("x/", "upload"),
            ("ünï 1.csv", "ünï 1.csv"),
        ],
    )
    def test_it_keeps_only_the_last_part_of_a_name(self, project, name, kept):
        assert send(project, name=name).file_name == kept

    def test_it_shortens_a_long_name_but_not_its_ending(self, project):
        name = send(project, name="x" * 500 + ".jsonl.gz").file_name
        assert len(name) <= 255 and name.endswith(".jsonl.gz")

    def test_it_stops_at_the_limit_and_keeps_nothing(self, project, settings):
        settings.UPLOAD_MAX_BYTES = 100_000
        taken = []

        def chunks():
            for _ in range(1_000):
                taken.append(1)
                yield b"x" * 40_000

        with pytest.raises(InvalidInput, match=r"items.csv is larger than 100,000 bytes"):
            uploads.receive(project=project, by=owner_of(project), file_name="items.csv", chunks=chunks())
        assert len(taken) == 3
        assert not Upload.objects.exists()
        assert [path for path in files.path_of("uploads").rglob("*") if path.is_file()] == []

    def test_it_keeps_nothing_of_a_transfer_that_breaks_off(self, project):
        def chunks():
            yield b"id,text\n"
            raise ConnectionError

        with pytest.raises(ConnectionError):
            uploads.receive(project=project, by=owner_of(project), file_name="items.csv", chunks=chunks())
        assert [path for path in files.path_of("uploads").rglob("*") if path.is_file()] == []

    def test_it_refuses_an_empty_file(self, project):
        with pytest.raises(InvalidInput, match=r"items.csv is empty"):
            send(project, b"")

    def test_it_belongs_to_those_who_manage(self, project):
        for person, error in ((make_member(project), AccessDenied), (make_user("Sam"), NotFound)):
            with pytest.raises(error):
                uploads.receive(project=project, by=person, file_name="x.csv", chunks=[GOOD_CSV])


class TestFind:
    def test_it_knows_uploads_of_this_project_alone(self, project):
        sent = send(project)
        assert uploads.find(project=project, public_id=sent.public_id) == sent
        with pytest.raises(NotFound):
            uploads.find(project=make_project(), public_id=sent.public_id)

    def test_it_does_not_know_one_that_was_thrown_away(self, project):
        sent = send(project)
        uploads.discard(upload=sent, by=owner_of(project))
        with pytest.raises(NotFound):
            uploads.find(project=project, public_id=sent.public_id)


class TestDiscard:
    def test_it_removes_the_file_and_keeps_the_row(self, project, django_capture_on_commit_callbacks):
        sent = send(project)
        with django_capture_on_commit_callbacks(execute=True):
            uploads.discard(upload=sent, by=owner_of(project))
        assert not files.path_of(sent.file).exists()
        assert sent.deleted_at is not None and Event.objects.filter(kind="upload.discarded").exists()

    def test_it_leaves_a_file_that_an_unfinished_import_reads(self, project, monkeypatch):
        sent = send(project)
        interrupt(monkeypatch, sent)
        with pytest.raises(Conflict, match="is being imported"):
            uploads.discard(upload=sent, by=owner_of(project))

    def test_it_leaves_a_file_that_a_waiting_run_names(self, project):
        sent = send(project)
        Run.objects.create(project=project, kind="import", parameters={"upload": sent.public_id})
        with pytest.raises(Conflict, match="is being imported"):
            uploads.discard(upload=sent, by=owner_of(project))

    def test_it_belongs_to_those_who_manage(self, project):
        with pytest.raises(AccessDenied):
            uploads.discard(upload=send(project), by=make_member(project))


def test_it_sweeps_old_uploads_that_no_import_uses(project, django_capture_on_commit_callbacks):
    old, used, young, waiting = (send(project) for _ in range(4))
    for one in (old, used, waiting):
        Upload.objects.filter(pk=one.pk).update(created_at=one.created_at - timedelta(hours=25))
    Import.objects.create(project=project, upload=used, file_name="x", file_sha256="x")
    Run.objects.create(project=project, kind="import", parameters={"upload": waiting.public_id})
    with django_capture_on_commit_callbacks(execute=True):
        assert uploads.sweep() == 1
    there = [files.path_of(one.file).exists() for one in (old, used, young, waiting)]
    assert there == [False, True, True, True]
    assert uploads.sweep() == 0


class TestBadFiles:
    @pytest.mark.parametrize("case", [name for name, bad in BAD_FILES.items() if bad.expect == "refused"])
    def test_it_refuses_with_a_sentence_and_stores_nothing(self, project, settings, case):
        settings.IMPORT_MAX_BYTES = 50_000_000
        bad = BAD_FILES[case]
        with pytest.raises(InvalidInput) as refusal:
            take_in(send(project, bad.content(), bad.name), **bad.choices)
        assert bad.sentence in str(refusal.value)
        assert not Import.objects.exists() and not Item.objects.exists()

    @pytest.mark.parametrize("case", [name for name, bad in BAD_FILES.items() if bad.expect == "quarantined"])
    def test_it_sets_the_bad_row_aside_and_takes_the_good_ones(self, project, case):
        bad = BAD_FILES[case]
        sent = send(project, bad.content(), bad.name)
        seen = look(sent)
        source = take_in(sent)
        rows = source.rejected_rows.filter(kind="rejected").order_by("line")
        assert bad.sentence in rows[0].reason and rows[0].line == bad.line
        assert rows[0].excerpt.isprintable()
        assert source.n_items == bad.n_good
        # The preview said exactly that.
        told = [(row.line, row.reason, row.external_id, row.excerpt) for row in seen.rejected]
        assert told == list(rows.values_list("line", "reason", "external_id", "excerpt"))

    @pytest.mark.parametrize("case", ODD_FILES)
    def test_it_takes_what_only_looks_odd(self, project, case):
        name, content, expected = ODD_FILES[case]
        source = take_in(send(project, content, name))
        assert (texts(project), source.n_rejected) == (expected, 0)

    def test_it_stops_unpacking_a_bomb_in_little_memory(self, project, settings):
        settings.IMPORT_MAX_BYTES = 30_000_000
        sent = send(project, BAD_FILES["a gzip bomb"].content())
        tracemalloc.start()
        try:
            assert "It seems to hold about" in look(sent).doubts[0]
            with pytest.raises(InvalidInput, match="more than 30,000,000 bytes"):
                take_in(sent)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


class TestPreview:
    def test_it_shows_what_would_be_stored_and_stores_nothing(self, project):
        content = b"uid;Review;stars\n7;good;5\n8;bad;1\n8;worse;1\n9;good;4\n;;\n"
        seen = look(send(project, content))
        assert (seen.dialect.format, seen.dialect.encoding, seen.dialect.delimiter) == ("csv", "utf-8", ";")
        assert seen.mapping == {"text": "Review", "id": "uid", "gold": None, "silver": None, "confidence": None}
        assert [(column.name, column.role) for column in seen.columns] == [
            ("uid", "id"),
            ("Review", "text"),
            ("stars", None),
        ]
        assert seen.columns[1].samples == ("good", "bad", "worse")
        assert [(row.line, row.external_id, row.payload, row.metadata) for row in seen.rows] == [
            (2, "7", {"text": "good"}, {"stars": "5"}),
            (3, "8", {"text": "bad"}, {"stars": "1"}),
        ]
        assert (seen.n_rows, seen.n_checked, seen.n_new, seen.n_duplicates, seen.n_rejected) == (5, 5, 2, 1, 2)
        assert seen.mean_characters == 3.5 and seen.n_bytes == len(content)
        assert not Item.objects.exists() and not Import.objects.exists() and not RejectedRow.objects.exists()

    @pytest.mark.parametrize("depth", [260, 1_000])
    def test_it_sets_aside_what_is_nested_too_deeply(self, project, depth):
        deep = b'{"text": "b", "x": ' + b"[" * depth + b"]" * depth + b"}\n"
        seen = look(send(project, b'{"text": "a"}\n' + deep, "items.jsonl"))
        assert (seen.n_new, [row.reason for row in seen.rejected]) == (1, ["is nested deeper than 250 levels"])

    def test_it_counts_all_rows_and_checks_the_first_thousand(self, project):
        content = b"id,text\n" + b"".join(b"%d,text %d\n" % (n, n) for n in range(2_500))
        seen = look(send(project, content))
        assert (seen.n_rows, seen.n_checked, seen.n_new, len(seen.rows)) == (2_500, 1_000, 1_000, 20)

    def test_it_holds_only_so_much_of_long_rows(self, project, monkeypatch):
        monkeypatch.setattr(file_preview, "MOST_BYTES", 2_000)
        content = b"".join(b'{"text": "%d %s"}\n' % (n, b"x" * 900) for n in range(10))
        seen = look(send(project, content))
        assert (seen.n_checked, seen.n_rows, seen.n_new, seen.n_expected) == (2, 9, 2, 9)

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b'[["text"],["a"]]\n', "The first row cannot be read: row 1 is an array, not an object."),
            (b"[1]\n{}\n", "None of the first 2 rows can be read: row 1, the first, is an array, not an object."),
            (b"{}\n", "The first row cannot be read: row 1 has no fields."),
            (b'[{"text": "%s"}]' % (b"x" * 1_000_001), "row 1 is longer than 1,000,000 bytes."),
        ],
    )
    def test_it_says_why_there_are_no_columns(self, project, content, sentence):
        assert sentence in look(send(project, content)).problem

    def test_it_knows_what_is_there_already(self, project):
        take_in(send(project))
        seen = look(send(project, b"id,text\n5,a good line\n1,other\n"))
        assert (seen.n_new, seen.n_duplicates, seen.n_rejected) == (0, 1, 1)

    def test_it_shows_a_guess_as_a_guess(self, project):
        sent = send(project, "id,text\n1,Café\n".encode("cp1252"))
        seen = look(sent)
        assert (seen.dialect.encoding, seen.is_sure) == ("cp1252", False) and "a guess" in seen.notes[0]
        changed = look(sent, dialect={"encoding": "cp1250"})
        assert (changed.dialect.encoding, changed.is_sure, changed.notes) == ("cp1250", True, ())
        assert changed.rows[0].payload == {"text": "Café"}

    def test_it_names_the_lines_of_mixed_encodings(self, project):
        [note] = look(send(project, BAD_FILES["mixed encodings"].content())).notes
        assert "mixes encodings" in note and "line 2 the first" in note and "line 4 the first" in note

    def test_it_asks_for_the_text_where_no_name_tells(self, project):
        sent = send(project, b"id,bemerkung,n\n1,gut,2\n")
        assert look(sent).problem == "Which column holds the text? Choose one."
        seen = look(sent, columns={"text": "bemerkung", "id": "id"})
        assert (seen.problem, seen.rows[0].payload) == ("", {"text": "gut"})

    @pytest.mark.parametrize(
        ("columns", "problem"),
        [
            ({"text": "nothing"}, "There is no column 'nothing'; there are: 'id', 'text'."),
            ({"text": "text", "gold": "text"}, "is the item itself"),
            ({"text": "text", "id": "text"}, "must be different columns"),
            ({"text": "text", "weight": "id"}, "no 'weight'"),
        ],
    )
    def test_it_says_why_columns_cannot_be(self, project, columns, problem):
        assert problem in look(send(project), columns=columns).problem

    def test_it_takes_a_persons_word_for_the_encoding(self, project):
        sent = send(project, "sep=;\nid;text\n1;a\n".encode("utf-16-le"))
        seen = look(sent, dialect={"encoding": "utf-16-le"})
        assert (seen.dialect.delimiter, seen.dialect.header_line, seen.is_sure) == (";", 2, True)
        assert seen.rows[0].payload == {"text": "a"}
        assert take_in(sent, encoding="utf-16-le").n_items == 1

    @pytest.mark.parametrize(
        "choices",
        [{"encoding": "klingon"}, {"delimiter": "x"}, {"quote": "'"}, {"format": "x"}, {"encoding": ["utf-8"]}],
    )
    def test_it_refuses_a_dialect_that_is_none(self, project, choices):
        with pytest.raises(InvalidInput):
            look(send(project), dialect=choices)

    @pytest.mark.parametrize(
        ("content", "encoding", "sentence"),
        [(GOOD_CSV, "utf-16", "no byte order mark"), (b'{"text": "a"}\n', "cp1252", "always UTF-8")],
    )
    def test_it_refuses_an_encoding_that_cannot_be(self, project, content, encoding, sentence):
        with pytest.raises(InvalidInput, match=sentence):
            look(send(project, content), dialect={"encoding": encoding})

    def test_it_compares_labels_with_those_of_the_project(self, project):
        content = b'text,label,llm,confidence\na,yes,no,"0,5"\nb,yes,nope,0.7\nc,,,\nd,perhaps,no,x\n'
        columns = {"gold": "label", "silver": "llm", "confidence": "confidence"}
        seen = look(send(project, content), columns=columns)
        assert [(one.name, one.n, one.is_known) for one in seen.labels["gold"]] == [
            ("yes", 2, True),
            ("perhaps", 1, False),
        ]
        assert [(one.name, one.n, one.is_known) for one in seen.labels["silver"]] == [
            ("no", 2, True),
            ("nope", 1, False),
        ]
        assert [(row.gold, row.silver) for row in seen.rows] == [
            ("yes", "no"),
            ("yes", "answered 'nope'"),
            (None, "missing"),
        ]

    def test_it_proposes_both_texts_of_a_pair(self):
        project = make_project(modality="pair")
        seen = look(send(project, b"Premise,Hypothesis,label\na,b,yes\n"))
        assert seen.mapping["text_a"] == "Premise" and seen.mapping["text_b"] == "Hypothesis"
        assert seen.rows[0].payload == {"text_a": "a", "text_b": "b"}

    def test_it_maps_the_fields_of_json_lines_too(self, project):
        sent = send(project, b'{"review": "good", "uid": 7, "n": 1}\n{"review": 5}\n', "x.jsonl")
        seen = look(sent)
        assert (seen.mapping["text"], seen.mapping["id"]) == ("review", "uid")
        assert seen.rejected[0].reason == '"review" is int, not a string'
        take_in(sent)
        item = Item.objects.get()
        assert (item.external_id, item.content.metadata) == ("7", {"n": 1})

    def test_it_belongs_to_those_who_manage(self, project):
        with pytest.raises(AccessDenied):
            preview.of_upload(upload=send(project), by=make_member(project))


class TestImport:
    def test_it_makes_items_with_gold_silver_and_metadata(self):
        project = make_project(labels=("neg", "pos"))
        content = b"uid\treview\ty\tllm\tp\tnote\n1\ta\tpos\tneg\t0,25\t\n\tb\t\tneg\tvague\tx\n3\tc\t\t\t\t\n"
        columns = {"text": "review", "id": "uid", "gold": "y", "silver": "llm", "confidence": "p"}
        sent = send(project, content)
        source = take_in(sent, columns)
        assert (source.n_items, source.upload, source.file_name) == (3, sent, "items.csv")
        items = list(Item.objects.order_by("ordinal"))
        assert [item.external_id for item in items] == ["1", None, "3"]
        assert items[0].content.metadata == {"p": "0,25", "note": ""}
        assert Gold.objects.get().label.name == "pos"
        rows = Prediction.objects.order_by("item__ordinal")
        assert [row.status for row in rows] == ["ok", "ok", "missing"]
        assert rows[0].vector().tolist() == [0.25, 0.75] and rows[1].probabilities is None

    @pytest.mark.parametrize("n_chunks", range(4))
    def test_it_goes_on_at_the_cursor(self, project, monkeypatch, n_chunks):
        monkeypatch.setattr(ingest, "CHUNK_ROWS", 3)
        rows = [f'{n},"text\nno. {n}"\n' for n in range(8)]
        rows[4] = '4,"broken" here\n'
        sent = send(project, ("id,text\n" + "".join(rows)).encode())
        with monkeypatch.context() as patch:
            stop_after(patch, n_chunks)
            with pytest.raises(Stop if n_chunks < 3 else Conflict):
                take_in(sent)
                raise Conflict
        if n_chunks < 3:
            take_in(sent)
        assert texts(project) == [f"text\nno. {n}" for n in range(8) if n != 4]
        source = Import.objects.get()
        assert (source.n_items, source.n_rejected, source.cursor) == (7, 1, 16)
        assert source.rejected_rows.get().line == 10

    def test_it_does_nothing_twice_when_a_worker_is_lost_at_the_very_end(self, project):
        sent = send(project)
        options = {"upload": sent.public_id, "dialect": {"format": "csv"}, "columns": {"text": "text"}}
        with lifecycle.start(kind="import", project=project, by=owner_of(project)):
            first = ingest.import_upload(project=project, by=owner_of(project), **options)
            again = ingest.import_upload(project=project, by=owner_of(project), **options)
        assert first == again and Import.objects.count() == 1

    def test_what_another_run_began_is_completed_once(self, project, monkeypatch):
        options = interrupt(monkeypatch, send(project))
        with lifecycle.start(kind="import", project=project, by=owner_of(project)) as attempt:
            first = ingest.import_upload(project=project, by=owner_of(project), **options)
            again = ingest.import_upload(project=project, by=owner_of(project), **options)
        assert first == again == Import.objects.get()
        assert again.run == attempt.run

    def test_it_refuses_to_go_on_in_another_dialect(self, project, monkeypatch):
        sent = send(project)
        interrupt(monkeypatch, sent)
        with pytest.raises(Conflict, match="read with format 'csv', encoding 'utf-8'"):
            take_in(sent, encoding="latin-1")

    def test_it_can_be_abandoned_and_started_otherwise(self, project, monkeypatch):
        sent = send(project)
        interrupt(monkeypatch, sent)
        assert ingest.abandon_import(project=project, by=owner_of(project)) == 1
        assert take_in(sent, encoding="latin-1").n_items == 2

    def test_it_refuses_a_stored_file_that_changed(self, project):
        sent = send(project)
        files.path_of(sent.file).write_bytes(GOOD_CSV + b"3,more\n")
        with pytest.raises(FileDamaged, match="another checksum"):
            take_in(sent)
        files.path_of(sent.file).unlink()
        with pytest.raises(FileDamaged, match="is missing"):
            take_in(sent)

    def test_it_refuses_a_table_without_the_chosen_column(self, project):
        with pytest.raises(InvalidInput, match="There is no column 'x'; there are: 'id', 'text'"):
            take_in(send(project), {"text": "x"})

    def test_it_belongs_to_those_who_manage(self, project):
        options = {"upload": send(project).public_id, "dialect": {}, "columns": {"text": "text"}}
        with pytest.raises(AccessDenied):
            ingest.import_upload(project=project, by=make_member(project), **options)


class TestQuarantine:
    def read(self, source) -> list[list[str]]:
        return list(
            stdlib.reader(io.StringIO(b"".join(uploads.quarantine(source.rejected_rows.all())).decode(), newline=""))
        )

    def test_it_lists_every_line_that_made_no_item(self, project):
        source = take_in(send(project, b"id,text\n1,a\n2,a\n1,b\n=3,\n"))
        assert self.read(source) == [
            ["line", "external_id", "kind", "reason", "excerpt"],
            ["3", "2", "duplicate", "same content as an item that is there", "2,a"],
            ["4", "1", "rejected", "the id '1' already belongs to an item with other content", "1,b"],
            ["5", "'=3", "rejected", '"text" is empty', "'=3,"],
        ]

    def test_for_programs_no_cell_is_altered(self, project):
        source = take_in(send(project, b"id,text\n=3,\n"))
        lines = b"".join(uploads.quarantine(source.rejected_rows.all(), is_for_programs=True)).decode()
        _, row = stdlib.reader(io.StringIO(lines, newline=""))
        assert row == ["2", "=3", "rejected", '"text" is empty', "=3,"]

    def test_it_comes_in_pages(self, project, monkeypatch, django_assert_num_queries):
        monkeypatch.setattr(bulk, "ROWS_PER_PAGE", 10)
        source = Import.objects.create(project=project, file_name="x", file_sha256="x")
        RejectedRow.objects.bulk_create(RejectedRow(source=source, line=n, reason="r") for n in range(25))
        with django_assert_num_queries(4):
            pages = list(uploads.quarantine(source.rejected_rows.all()))
        assert len(pages) == 4 and len(self.read(source)) == 26


def test_it_asks_the_database_little_for_a_preview(project, django_assert_max_num_queries):
    sent = send(project, b"id,text\n" + b"".join(b"%d,text %d\n" % (n, n) for n in range(3_000)))
    owner = owner_of(project)
    with django_assert_max_num_queries(8):
        preview.of_upload(upload=sent, by=owner)
