"""What Goldloop exported goes back in: the same texts, ids and labels, and nothing that was no label."""

import csv as stdlib
import io
import json
import shutil
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from annotate import tasks
from annotate.dataset import export
from annotate.dataset.provenance import COLUMNS
from annotate.errors import InvalidInput
from annotate.formats import detection, own_export, spreadsheet, streams
from annotate.formats.dialect import Dialect
from annotate.formats.reader import reader_of
from annotate.formats.recognition import recognised
from annotate.imports import ingest, preview, uploads
from annotate.models import Gold, Item, ItemPayload, Prediction
from annotate.web import run_status
from models_ml.texts import has_text
from tests.annotate.dataset.test_export import make_delivered, make_gold, make_items, make_prompt
from tests.factories import make_project, owner_of, write_jsonl
from tests.formats.nasty import nasty_text
from tests.web.imports.sending import perform

CASES = Path(__file__).parents[1] / "cases"
ROUND_TRIP = [json.loads(line) for line in (CASES / "roundtrip.jsonl").read_text().strip().split("\n")]
DATA = {"jsonl": ".jsonl", "csv": ".csv", "csv-spreadsheet": ".spreadsheet.csv"}

pytestmark = [pytest.mark.django_db, pytest.mark.portable]


def detected(path: Path) -> detection.Detected:
    with streams.opened(path) as file:
        return detection.detect(file, path.name)


def taken_in(project, path: Path, **options):
    return ingest.import_items(
        project=project, path=path, by=owner_of(project), dialect=detected(path).dialect, **options
    )


def contents(project) -> list[tuple]:
    """Of each item: external id, content, metadata, gold, and its silver with how that ended."""
    found = []
    for item in Item.objects.filter(project=project).select_related("content").order_by("ordinal"):
        gold = Gold.objects.filter(item=item).values_list("label__name", flat=True).first()
        silver = Prediction.objects.filter(item=item).values_list("label_index", "status").first()
        found.append((item.external_id, item.content.payload, item.content.metadata, gold, silver))
    return found


class TestRoundTrip:
    """120 items of an export of manifest format 1, 40 of them with gold, all with silver."""

    @pytest.fixture
    def project(self):
        return make_project(labels=("-1", "0", "1"))

    @pytest.mark.parametrize("name", ["roundtrip.jsonl", "roundtrip.csv"])
    def test_its_texts_ids_and_labels_are_what_they_were(self, project, name):
        source = taken_in(project, CASES / name)
        assert (source.n_items, source.n_rejected, source.n_duplicates) == (120, 0, 0)
        for row, (external_id, payload, metadata, gold, silver) in zip(ROUND_TRIP, contents(project), strict=True):
            assert (external_id, payload, metadata["id"]) == (row["external_id"], row["payload"], row["id"])
            assert gold == (row["label"] if row["label_source"] == "gold" else None)
            assert silver == (["-1", "0", "1"].index(row["silver_label"]), "ok")
        assert Gold.objects.count() == 40
        assert Prediction.objects.filter(status="ok").count() == 120

    def test_both_formats_give_the_same(self, project):
        other = make_project(labels=("-1", "0", "1"))
        taken_in(project, CASES / "roundtrip.jsonl")
        taken_in(other, CASES / "roundtrip.csv")
        assert contents(project) == contents(other)

    @pytest.mark.parametrize("name", ["roundtrip.jsonl", "roundtrip.csv"])
    def test_the_preview_says_what_it_is_and_the_import_does_what_it_shows(self, project, name):
        chunks = [(CASES / name).read_bytes()]
        upload = uploads.receive(project=project, by=owner_of(project), file_name=name, chunks=chunks)
        seen = preview.of_upload(upload=upload, by=owner_of(project))
        assert "This is an export of Goldloop" in seen.notes[0]
        assert seen.mapping == {
            "text": "payload.text",
            "id": "external_id",
            "gold": "label",
            "silver": "silver_label",
            "confidence": "silver_probability",
        }
        assert (seen.n_new, seen.n_rejected, seen.problem) == (120, 0, "")
        assert sum(one.n for one in seen.labels["gold"]) == 40
        # A program that sends back only the part of the dialect that it knew before gets the same.
        old = {key: value for key, value in seen.dialect.to_json().items() if key != "export"}
        for dialect in (seen.dialect.to_json(), old):
            target = make_project(labels=("-1", "0", "1"))
            sent = uploads.receive(project=target, by=owner_of(target), file_name=name, chunks=chunks)
            ingest.import_upload(
                project=target, by=owner_of(target), upload=sent.public_id, dialect=dialect, columns=seen.mapping
            )
            assert Gold.objects.filter(project=target).count() == 40
            assert Prediction.objects.filter(item__project=target, status="ok").count() == 120

    @pytest.mark.parametrize(
        ("name", "is_ambiguous"), [("roundtrip.csv", True), ("roundtrip.jsonl", False), ("tricky.jsonl", None)]
    )
    def test_the_report_of_the_import_says_it_too(self, project, name, is_ambiguous):
        chunks = [(CASES / name).read_bytes()]
        upload = uploads.receive(project=project, by=owner_of(project), file_name=name, chunks=chunks)
        wanted = {"upload": upload.public_id, "dialect": {}, "columns": {}}
        run = perform(tasks.enqueue(kind="import", project=project, by=owner_of(project), parameters=wanted))
        told = run_status.status(run).sentence
        assert "new items" in told and ("an export of" in told) == (is_ambiguous is not None)
        assert ("it has lost that" in told) == bool(is_ambiguous)

    @pytest.mark.parametrize("column", ["silver_label", "external_id"])
    def test_no_other_column_becomes_gold(self, project, column):
        with pytest.raises(InvalidInput, match="in no other|is the item itself"):
            taken_in(project, CASES / "roundtrip.csv", gold_field=column, columns={"silver": None, "confidence": None})
        assert not Item.objects.exists()

    def test_what_format_1_cannot_tell_apart_is_said(self):
        _, ambiguity = detected(CASES / "roundtrip.csv").notes
        assert "does not tell the two apart" in ambiguity
        assert len(detected(CASES / "roundtrip.jsonl").notes) == 1

    def test_the_command_needs_no_options_and_reads_the_manifest_beside_it(self, project, tmp_path, capsys):
        for name in ("roundtrip.csv", "roundtrip.manifest.json"):
            shutil.copy(CASES / name, tmp_path / name)
        call_command("import_items", project.slug, str(tmp_path / "roundtrip.csv"))
        said = capsys.readouterr().out
        assert "This is an export of Goldloop" in said and "does not tell the two apart" in said
        assert "as it was exported: roundtrip.manifest.json says so, of version 4" in said
        assert "40 of the new items came with a gold label in 'label'" in said
        assert "120 of the new items came with a machine's label in 'silver_label'" in said

    def test_the_command_says_that_the_file_was_changed(self, project, tmp_path, capsys):
        manifest = (CASES / "roundtrip.manifest.json").read_text()
        (tmp_path / "x.manifest.json").write_text(manifest)
        (tmp_path / "loop-v4.csv").write_bytes((CASES / "roundtrip.csv").read_bytes() + b"\r\n")
        call_command("import_items", project.slug, str(tmp_path / "loop-v4.csv"))
        assert "its checksum differs from x.manifest.json" in capsys.readouterr().out


class TestReading:
    def test_it_knows_every_column_that_exports_have(self):
        taken = {"id", "external_id", "payload", "label", "silver_label", "silver_probability"}
        assert COLUMNS.keys() - taken | {"stratum", spreadsheet.COLUMN} == own_export._LEFT_OUT

    @pytest.mark.parametrize(
        ("names", "is_table", "kind"),
        [
            (["payload.text", "label", "label_source"], True, "plain"),
            (["payload", "label", "label_source"], False, "plain"),
            (["payload.text", "label", "label_source", "stratum"], True, "escaped"),
            (["payload", "label", "label_source", "stratum"], False, "plain"),
            (["text", spreadsheet.COLUMN], True, "spreadsheet"),
            (["payload.text", "label"], True, ""),
            (["text", "label", "label_source"], True, ""),
            (["payload", "label", "label_source"], True, ""),
        ],
    )
    def test_it_is_recognised_by_its_columns(self, names, is_table, kind):
        assert own_export.kind_of(names, is_table=is_table) == kind

    def test_a_failure_of_the_machine_is_a_label_nowhere(self, tmp_path):
        project = make_project()
        common = {"payload": {"text": ""}, "label": "no", "label_source": "machine", "silver_label": "no"}
        statuses = ["ok", "refusal", "what is this", None, ""]
        rows = [common | {"payload": {"text": f"t {n}"}, "silver_status": status} for n, status in enumerate(statuses)]
        taken_in(project, write_jsonl(tmp_path / "x.jsonl", rows))
        found = [silver for *_, silver in contents(project)]
        assert found == [(1, "ok"), (None, "refusal"), (None, "missing"), None, None]
        assert not Gold.objects.exists()

    def test_columns_that_somebody_added_become_metadata(self, tmp_path):
        project = make_project()
        row = {"id": "x", "external_id": None, "payload": {"text": "t"}, "label": None, "label_source": None, "mine": 7}
        taken_in(project, write_jsonl(tmp_path / "x.jsonl", [row]))
        [(external_id, payload, metadata, gold, silver)] = contents(project)
        assert (external_id, payload, metadata) == (None, {"text": "t"}, {"id": "x", "mine": 7})
        assert gold is silver is None

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    @pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
    def test_another_program_may_have_written_it_anew(self, tmp_path, delimiter, encoding):
        text = io.StringIO(newline="")
        columns = ["external_id", "payload.text", "label", "label_source", spreadsheet.COLUMN]
        rows = [["1", "'-é; a\n'=b", "'-1", "gold", ""], ["2", "plain", "0", "machine", ""]]
        stdlib.writer(text, delimiter=delimiter, lineterminator="\n").writerows([columns, *rows])
        path = tmp_path / "x.csv"
        path.write_bytes(text.getvalue().encode(encoding))
        project = make_project(labels=("-1", "0", "1"))
        taken_in(project, path)
        assert [row[:2] + row[3:4] for row in contents(project)] == [
            ("1", {"text": "-é; a\n=b"}, "-1"),
            ("2", {"text": "plain"}, None),
        ]

    @pytest.mark.parametrize("is_array", [False, True])
    @pytest.mark.parametrize(
        ("text", "mark"), [("'-a", {spreadsheet.COLUMN: None}), ("'-a", {"stratum": None}), ("-a", {})]
    )
    def test_a_table_that_became_json_is_still_an_export(self, tmp_path, text, mark, is_array):
        row = {"external_id": 7, "payload.text": text, "label": 0, "label_source": "machine", **mark}
        rows = [row, row | {"external_id": 8, "payload.text": "b", "label": -1, "label_source": "gold"}]
        path = write_jsonl(tmp_path / "x.jsonl", rows)
        if is_array:
            path.write_text(json.dumps(rows))
        project = make_project(labels=("-1", "0", "1"))
        taken_in(project, path)
        assert [row[:2] + row[3:4] for row in contents(project)] == [
            ("7", {"text": "-a"}, None),
            ("8", {"text": "b"}, "-1"),
        ]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a payload that is a text", b'{"payload": "a", "label": "yes", "label_source": "gold"}\n'),
            ("another kind of source", b"payload.text,label,label_source\na,yes,crowd\n"),
        ],
    )
    def test_names_alone_make_no_file_of_others_an_export(self, tmp_path, name, content):
        (tmp_path / "x").write_bytes(content)
        assert detected(tmp_path / "x").dialect.export == "", name

    def test_what_somebody_did_to_it_in_an_editor_costs_no_other_row(self, tmp_path):
        lines = ["", "id,payload.text,label,label_source", '1,5" wide,yes,gold', "2,b,yes,gold", "3,c,no,machine"]
        (tmp_path / "edited.csv").write_text("\r\n".join([*lines, ""]), newline="")
        project = make_project()
        source = taken_in(project, tmp_path / "edited.csv")
        assert [(payload["text"], gold) for _, payload, _, gold, _ in contents(project)] == [("b", "yes"), ("c", None)]
        assert [row.line for row in source.rejected_rows.all()] == [3]

    def test_whoever_says_that_it_is_none_gets_it_as_it_is(self, tmp_path):
        path = CASES / "roundtrip.csv"
        with streams.opened(path) as file:
            reader = reader_of(Dialect("csv"))
            names = reader.names(file)
            assert "model_label" in names and reader.names(file) == names
            assert recognised(file, Dialect("csv")).export == "escaped"

    @pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x00broken", b"{}\n", b"[1]\n", b"a,,b\n1,2,3\n"])
    def test_what_cannot_be_read_is_no_export(self, tmp_path, content):
        (tmp_path / "x").write_bytes(content)
        with streams.opened(tmp_path / "x") as file:
            for dialect in (Dialect("csv"), Dialect("jsonl")):
                assert recognised(file, dialect) == dialect


# ---- round trips

texts = nasty_text.filter(has_text)
names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
datasets = st.tuples(
    st.lists(names, min_size=2, max_size=4, unique_by=lambda name: name.casefold()),
    st.lists(texts, min_size=1, max_size=6, unique=True),
)


def exported(project, folder: Path, label_names, all_texts) -> Path:
    """Export a project of such labels and texts in all formats: gold, silver, a failure, and items nobody labeled."""
    items = make_items(project, folder, rows=[{"id": f"-{n}", "text": text} for n, text in enumerate(all_texts)])
    prompt = make_prompt(project)
    for place, item in enumerate(items):
        if place % 2 == 0:
            make_gold(item, label_names[place % len(label_names)], "active")
        status, index = ("ok", place % len(label_names)) if place % 3 else ("refusal", None)
        if place % 4 != 3:
            Prediction.objects.create(item=item, prompt=prompt, status=status, label_index=index)
    delivered = make_delivered(project, label=[place % 2 for place in range(len(items))], prompt=prompt)
    return export.export(delivered=delivered, directory=folder, by=owner_of(project), formats=export.FORMATS)


def known_of(project) -> list[tuple]:
    return [(*row[:2], *row[3:]) for row in contents(project)]


@pytest.mark.parametrize("n_examples", [25, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])])
def test_whatever_is_exported_comes_back_byte_by_byte(n_examples, tmp_path_factory):
    # Texts are searched on SQLite; on PostgreSQL, where it takes longest, only that the statements hold.
    n = n_examples if connection.vendor == "sqlite" else n_examples // 10
    # Without shrinking: each example exports and imports, and a failing one is small anyway.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    steady = settings(max_examples=n, deadline=None, phases=phases, suppress_health_check=list(HealthCheck))

    @steady
    @given(datasets)
    def round_trip(dataset):
        label_names, all_texts = dataset
        folder = tmp_path_factory.mktemp("export")
        try:
            first = make_project(labels=tuple(label_names))
        except InvalidInput:  # names that differ only in how they are written
            reject()
        manifest = exported(first, folder, label_names, all_texts)
        assert [content["text"] for _, content, *_ in known_of(first)] == all_texts
        for ending in DATA.values():
            again = make_project(labels=tuple(label_names))
            source = taken_in(again, manifest.with_name(manifest.name.replace(".manifest.json", ending)))
            assert source.n_rejected == 0
            assert known_of(again) == known_of(first)

    round_trip()


@pytest.mark.parametrize("ending", DATA.values())
def test_texts_of_tricky_files_come_back_byte_by_byte(tmp_path, ending):
    first = make_project()
    ingest.import_items(project=first, path=CASES / "tricky.jsonl", by=owner_of(first))
    manifest = export.export(
        delivered=make_delivered(first), directory=tmp_path, by=owner_of(first), formats=export.FORMATS
    )
    again = make_project()
    taken_in(again, manifest.with_name(manifest.name.replace(".manifest.json", ending)))
    rows = [json.loads(line) for line in (CASES / "tricky.jsonl").read_text().strip().split("\n")]
    assert [payload["text"] for _, payload, *_ in contents(again)] == [row["text"] for row in rows]
    assert ItemPayload.objects.filter(item__project=again).count() == len(rows)
