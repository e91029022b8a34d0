"""The dataset out: each row as the database has it, at one point in time, and the same bytes again."""

import csv
import hashlib
import json
import threading

import numpy as np
import pytest
from django.db import connection

from annotate import files, items
from annotate.dataset import export, provenance
from annotate.dataset import manifest as manifests
from annotate.errors import AccessDenied, FileDamaged, InvalidInput
from annotate.imports import ingest
from annotate.models import (
    Annotation,
    DeliveredVersion,
    Draw,
    Estimate,
    Event,
    Export,
    Gold,
    GuidelineVersion,
    Item,
    Label,
    Prediction,
    PromptVersion,
)
from models_ml import checkpoints
from tests.factories import make_member, make_project, owner_of, rows_of, write_jsonl

LOOP = (
    "id, external_id, payload, label, label_source, label_probability, gold_rule, gold_origin, arms, split, pi, "
    "request_stratum, silver_label, silver_probability, silver_status, model_label, model_probability, fold, "
    "annotators, "
    "n_annotations, agreement, llm_version, prompt_version, model_version, schema_version, guideline_version, "
    "labeled_at"
)

pytestmark = pytest.mark.django_db


def make_items(project, folder, n=6, rows=None):
    path = write_jsonl(folder / f"in-{project.slug}.jsonl", rows or rows_of(n))
    ingest.import_items(project=project, path=path, by=owner_of(project))
    return list(Item.objects.filter(project=project).order_by("ordinal"))


def make_prompt(project, guidelines=None) -> PromptVersion:
    return PromptVersion.objects.create(
        project=project,
        version=4,
        annotator="offline",
        model="tiny-llm",
        schema=project.schemas.get(),
        guidelines=guidelines,
        sha256="0" * 64,
    )


def make_delivered(project, *, label=None, probability=None, model_label=None, **fields) -> DeliveredVersion:
    """A frozen version of the present pool; arrays by position."""
    ordinal = np.array(
        Item.objects.filter(project=project).in_pool().order_by("ordinal").values_list("ordinal", flat=True),
        dtype=np.int64,
    )
    n = len(ordinal)
    said = np.full(n, 1, np.int16) if label is None else np.array(label, np.int16)
    p = np.full(n, 0.9, np.float32) if probability is None else np.array(probability, np.float32)
    of_model = np.full(n, -1, np.int16) if model_label is None else np.array(model_label, np.int16)
    arrays = {
        "ordinal": ordinal,
        "label": said,
        "probability": p,
        "model_label": of_model,
        "model_probability": np.where(of_model < 0, np.nan, 0.6).astype(np.float32),
        "in_a": np.zeros(n, np.uint8),
    }
    version = project.delivered_versions.count() + 1
    name = f"delivered-{project.public_id}-{version}.safetensors"
    values = {
        "project": project,
        "version": version,
        "schema": project.schemas.get(),
        "rule": "combiner",
        "delivery": {},
        "last_ordinal": int(ordinal[-1]) if n else -1,
        "n_pool": n,
        "n_in_a": 0,
        "file": name,
        "file_sha256": files.save(name, [checkpoints.to_bytes(arrays, {})]),
        "fingerprint": f"{project.public_id}-{version}",
    }
    return DeliveredVersion.objects.create(**{**values, **fields})


def make_gold(item, name, origin="random", **fields) -> Gold:
    label = Label.objects.get(schema__project=item.project, name=name)
    values = {"rule": "one_trusted", "origin": origin, "is_blind": True}
    return Gold.objects.create(project=item.project, item=item, label=label, **{**values, **fields})


def make_annotation(item, person, name, guidelines=None, **fields) -> Annotation:
    label = Label.objects.get(schema__project=item.project, name=name) if name else None
    values = {
        "revision": Annotation.objects.filter(item=item, annotator=person).count() + 1,
        "is_blind": True,
        "idempotency_key": f"key-{Annotation.objects.count()}",
        "skip_reason": None if name else "unclear",
    }
    return Annotation.objects.create(
        project=item.project, item=item, annotator=person, label=label, guidelines=guidelines, **{**values, **fields}
    )


def written(delivered, folder, **options):
    return export.export(delivered=delivered, directory=folder / "out", by=owner_of(delivered.project), **options)


def jsonl_of(manifest) -> list[dict]:
    path = manifest.with_name(manifest.name.replace(".manifest.json", ".jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def csv_of(manifest, ending=".csv") -> list[dict]:
    path = manifest.with_name(manifest.name.replace(".manifest.json", ending))
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def project():
    return make_project(name="Mails")


class TestRows:
    def test_it_carries_loops_columns_in_their_order(self, project, tmp_path):
        make_items(project, tmp_path)
        assert ", ".join(provenance.COLUMNS) == LOOP
        assert ", ".join(jsonl_of(written(make_delivered(project), tmp_path))[0]) == LOOP

    def test_it_says_what_the_machine_says_where_there_is_no_gold(self, project, tmp_path):
        made = make_items(project, tmp_path, 3)
        delivered = make_delivered(project, label=[2, 0, -1], probability=[0.7, 0.55, np.nan], model_label=[1, -1, 0])
        rows = jsonl_of(written(delivered, tmp_path))
        assert [(row["label"], row["label_source"], row["label_probability"]) for row in rows] == [
            ("maybe", "machine", 0.7),
            ("yes", "machine", 0.55),
            (None, None, None),
        ]
        assert [(row["model_label"], row["model_probability"]) for row in rows] == [
            ("no", 0.6),
            (None, None),
            ("yes", 0.6),
        ]
        assert [(row["id"], row["external_id"], row["fold"]) for row in rows] == [
            (item.public_id, item.external_id, item.fold) for item in made
        ]
        assert rows[0]["payload"] == {"text": "item number 0"}
        assert rows[0]["gold_rule"] is rows[0]["labeled_at"] is rows[0]["pi"] is None

    def test_it_prefers_gold_and_the_trainable_one(self, project, tmp_path):
        first, second, third, fourth = make_items(project, tmp_path, 4)
        make_gold(first, "no", "audit")
        make_gold(first, "yes", "active")
        make_gold(second, "maybe", "audit")
        make_gold(third, "yes", is_current=False)
        make_gold(fourth, "yes", "imported", rule="imported")
        make_gold(fourth, "no", "audit")
        rows = jsonl_of(written(make_delivered(project), tmp_path))
        assert [(row["label"], row["label_source"], row["gold_origin"]) for row in rows] == [
            ("yes", "gold", "active"),
            ("maybe", "gold", "audit"),
            ("no", "machine", None),
            ("yes", "gold", "imported"),
        ]
        gold = Gold.objects.get(item=first, origin="active")
        assert (rows[0]["gold_rule"], rows[0]["label_probability"]) == ("one_trusted", None)
        assert rows[0]["labeled_at"] == gold.created_at.isoformat().replace("+00:00", "Z")

    def test_it_says_why_an_item_was_drawn(self, project, tmp_path):
        made = make_items(project, tmp_path, 5)
        drawn = {
            0: [("audit", 0.25), ("active", 1.0)],
            1: [("random", 0.5)],
            2: [("active", 1.0)],
            3: [("audit", None)],
        }
        for place, draws in drawn.items():
            for arm, pi in draws:
                Draw.objects.create(project=project, item=made[place], arm=arm, pi=pi, reason="test")
        make_gold(made[2], "yes", "active")
        rows = jsonl_of(written(make_delivered(project), tmp_path))
        assert [(row["split"], row["arms"], row["pi"]) for row in rows] == [
            ("audit", ["active", "audit"], 0.25),
            ("reference", ["random"], 0.5),
            ("train", ["active"], None),
            ("audit", ["audit"], None),
            ("pool", [], None),
        ]

    def test_it_reports_the_llms_answer_or_failure(self, project, tmp_path):
        made = make_items(project, tmp_path, 4)
        guidelines = GuidelineVersion.objects.create(project=project, version=3, markdown="x")
        prompt, other = make_prompt(project, guidelines), make_prompt(make_project())
        vector = np.array([0.1, 0.7, 0.2], dtype="<f4").tobytes()
        Prediction.objects.create(item=made[0], prompt=prompt, status="ok", label_index=1, probabilities=vector)
        Prediction.objects.create(item=made[1], prompt=prompt, status="ok", label_index=2)
        Prediction.objects.create(item=made[2], prompt=prompt, status="refusal")
        Prediction.objects.create(item=made[3], prompt=other, status="refusal")
        rows = jsonl_of(written(make_delivered(project, prompt=prompt), tmp_path))
        assert [(row["silver_label"], row["silver_probability"], row["silver_status"]) for row in rows] == [
            ("no", 0.7, "ok"),
            ("maybe", None, "ok"),
            (None, None, "refusal"),
            (None, None, None),
        ]
        names = ("llm_version", "prompt_version", "model_version", "schema_version", "guideline_version")
        assert [rows[0][name] for name in names] == ["tiny-llm", 4, None, 1, 3]

    def test_it_counts_the_answers_that_count(self, project, tmp_path):
        first, second = make_items(project, tmp_path, 2)
        ann, ravi, eve = (make_member(project, name) for name in ("Ann", "Ravi", "Eve"))
        old, new = (GuidelineVersion.objects.create(project=project, version=v, markdown="x") for v in (1, 2))
        make_annotation(first, ann, "no", old, is_current=False)
        make_annotation(first, ann, "yes", new)
        make_annotation(first, ravi, "yes", old)
        make_annotation(first, eve, "no", old)
        make_annotation(second, ann, None)
        make_annotation(second, ravi, "yes", is_counted=False)
        one, two = jsonl_of(written(make_delivered(project), tmp_path))
        assert one["annotators"] == sorted(person.public_id for person in (ann, ravi, eve))
        assert (one["n_annotations"], one["agreement"], one["guideline_version"]) == (3, 0.666667, 2)
        assert (two["annotators"], two["n_annotations"], two["agreement"]) == ([], 0, None)

    def test_it_leaves_out_hidden_withdrawn_and_later_items(self, project, tmp_path):
        make_items(project, tmp_path, 4)
        delivered = make_delivered(project)
        items.withdraw(project=project, external_ids=["item-1"], by=owner_of(project))
        make_items(project, tmp_path, rows=rows_of(3, "later"))
        rows = jsonl_of(written(delivered, tmp_path))
        assert [row["external_id"] for row in rows] == ["item-0", "item-2", "item-3"]

    def test_it_has_no_machine_label_for_an_item_that_came_back_after_the_freeze(self, project, tmp_path):
        make_items(project, tmp_path, 3)
        items.withdraw(project=project, external_ids=["item-1"], by=owner_of(project))
        delivered = make_delivered(project)
        make_items(project, tmp_path, 3)
        rows = jsonl_of(written(delivered, tmp_path))
        assert [row["label"] for row in rows] == ["no", None, "no"]

    def test_it_keeps_projects_apart_whose_items_alternate(self, project, tmp_path):
        other = make_project()
        for part in range(3):
            make_items(project, tmp_path, rows=rows_of(2, f"mine{part}"))
            for item in make_items(other, tmp_path, rows=rows_of(2, f"theirs{part}")):
                Gold.objects.filter(item=item).exists() or make_gold(item, "maybe")
        rows = jsonl_of(written(make_delivered(project), tmp_path))
        assert len(rows) == 6 and {row["label_source"] for row in rows} == {"machine"}

    def test_it_writes_the_same_rows_whatever_the_chunk(self, project, tmp_path, monkeypatch):
        made = make_items(project, tmp_path, 11)
        make_gold(made[4], "yes")
        delivered = make_delivered(project, label=[i % 3 for i in range(11)])
        whole = jsonl_of(written(delivered, tmp_path))
        monkeypatch.setattr(provenance, "CHUNK_ROWS", 3)
        assert jsonl_of(written(delivered, tmp_path)) == whole

    def test_it_exports_an_empty_pool(self, project, tmp_path):
        manifest = written(make_delivered(project), tmp_path)
        assert jsonl_of(manifest) == csv_of(manifest) == []
        assert export.verify_export(manifest) == []


class TestCsv:
    def test_it_says_the_same_as_the_jsonl(self, project, tmp_path):
        made = make_items(project, tmp_path, 5)
        make_gold(made[0], "yes")
        for arm in ("audit", "active"):
            Draw.objects.create(project=project, item=made[1], arm=arm, pi=0.5, reason="test")
        ann, ravi = make_member(project, "Ann"), make_member(project, "Ravi")
        for person in (ann, ravi):
            make_annotation(made[2], person, "no")
        manifest = written(make_delivered(project), tmp_path)
        for row, cells in zip(jsonl_of(manifest), csv_of(manifest), strict=True):
            row["payload.text"] = row.pop("payload")["text"]
            flat = {name: ";".join(value) if isinstance(value, list) else value for name, value in row.items()}
            assert {name: "" if value is None else str(value) for name, value in flat.items()} == cells

    def test_it_has_a_column_per_field_where_the_payload_was(self, project, tmp_path):
        make_items(project, tmp_path, 1)
        manifest = written(make_delivered(project), tmp_path)
        assert list(csv_of(manifest)[0])[:4] == ["id", "external_id", "payload.text", "label"]

    @pytest.mark.parametrize("text", ["=1+1", " =cmd()", "+1", "-1", "@x", "\tx", "\uff1d1"])
    def test_it_alters_nothing_for_programs_and_makes_formulas_harmless_for_spreadsheets(self, project, tmp_path, text):
        make_items(project, tmp_path, rows=[{"id": text, "text": text}])
        manifest = written(make_delivered(project), tmp_path, formats=export.FORMATS)
        [cells], [escaped] = csv_of(manifest), csv_of(manifest, ".spreadsheet.csv")
        assert cells["payload.text"] == cells["external_id"] == text
        assert escaped["payload.text"] == escaped["external_id"] == "'" + text
        assert jsonl_of(manifest)[0]["payload"]["text"] == text

    def test_it_writes_null_as_an_empty_cell_without_quotes(self, project, tmp_path):
        make_items(project, tmp_path, rows=[{"text": "a"}])
        manifest = written(make_delivered(project, label=[-1], probability=[np.nan]), tmp_path)
        _, line = manifest.with_name("mails-v1.csv").read_bytes().splitlines()
        assert line.split(b",")[1:6] == [b"", b"a", b"", b"", b""] and b'"' not in line

    def test_the_one_for_spreadsheets_is_named_in_the_manifest_and_in_its_header(self, project, tmp_path):
        make_items(project, tmp_path, rows=[{"text": "=1"}])
        manifest = written(make_delivered(project), tmp_path, formats=["csv-spreadsheet"])
        [entry] = json.loads(manifest.read_text())["files"]
        assert (entry["name"], entry["format"]) == ("mails-v1.spreadsheet.csv", "csv-spreadsheet")
        assert list(csv_of(manifest, ".spreadsheet.csv")[0])[-1] == "goldloop:csv-spreadsheet"
        assert export.verify_export(manifest) == []

    def test_it_survives_quotes_commas_and_line_ends(self, project, tmp_path):
        text = 'a "quoted", line\r\nand another; ünï😀'
        make_items(project, tmp_path, rows=[{"text": text}])
        assert csv_of(written(make_delivered(project), tmp_path))[0]["payload.text"] == text


class TestFiles:
    def test_it_gives_the_same_bytes_twice(self, project, tmp_path):
        made = make_items(project, tmp_path, 8)
        make_gold(made[0], "yes")
        delivered = make_delivered(project)
        manifest = written(delivered, tmp_path)
        first = {path.name: path.read_bytes() for path in manifest.parent.iterdir()}
        written(delivered, tmp_path)
        assert {path.name: path.read_bytes() for path in manifest.parent.iterdir()} == first
        assert sorted(first) == ["mails-v1.csv", "mails-v1.jsonl", "mails-v1.manifest.json"]

    def test_it_writes_only_the_formats_asked_for(self, project, tmp_path):
        make_items(project, tmp_path, 1)
        manifest = written(make_delivered(project), tmp_path, formats=["csv"])
        assert sorted(path.name for path in manifest.parent.iterdir()) == ["mails-v1.csv", "mails-v1.manifest.json"]

    @pytest.mark.parametrize("formats", [["xlsx"], []])
    def test_it_refuses_a_format_it_does_not_know(self, project, tmp_path, formats):
        with pytest.raises(InvalidInput, match="there are: jsonl, csv"):
            written(make_delivered(project), tmp_path, formats=formats)

    def test_it_refuses_a_folder_that_is_a_file(self, project, tmp_path):
        (tmp_path / "out").write_text("x")
        with pytest.raises(InvalidInput, match="cannot be a folder"):
            written(make_delivered(project), tmp_path)

    def test_it_leaves_nothing_when_it_fails(self, project, tmp_path, monkeypatch):
        make_items(project, tmp_path, 3)
        monkeypatch.setattr(export, "_jsonl", lambda rows: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            written(make_delivered(project), tmp_path)
        assert list((tmp_path / "out").iterdir()) == []

    def test_it_notices_a_damaged_frozen_file(self, project, tmp_path):
        make_items(project, tmp_path, 1)
        delivered = make_delivered(project)
        files.path_of(delivered.file).write_bytes(b"x")
        with pytest.raises(FileDamaged):
            written(delivered, tmp_path)

    def test_it_shows_progress(self, project, tmp_path):
        make_items(project, tmp_path, 3)
        seen = []
        written(make_delivered(project), tmp_path, show=lambda done, total: seen.append((done, total)))
        assert seen == [(3, 3)]

    def test_it_belongs_to_those_who_manage(self, project, tmp_path):
        with pytest.raises(AccessDenied):
            export.export(delivered=make_delivered(project), directory=tmp_path, by=make_member(project))

    def test_it_records_that_it_happened(self, project, tmp_path):
        make_items(project, tmp_path, 2)
        manifest = written(make_delivered(project), tmp_path)
        event = Event.objects.get(kind="export.completed")
        assert event.data == {"version": 1, "n_rows": 2, "manifest_sha256": files.checksum(manifest)}

    def test_its_row_holds_what_was_written_and_where(self, project, tmp_path):
        make_items(project, tmp_path, 2)
        manifest = written(delivered := make_delivered(project), tmp_path)
        row = Export.objects.get()
        assert (row.delivered_version, row.run, row.created_by) == (delivered, None, owner_of(project))
        assert (row.folder, row.manifest, row.n_rows) == (str(manifest.parent.resolve()), manifest.name, 2)
        assert row.manifest_sha256 == files.checksum(manifest)
        paths = [manifest.with_name(f"mails-v1.{name}") for name in ("jsonl", "csv")]
        assert row.files == [
            {"name": path.name, "format": path.suffix[1:], "bytes": path.stat().st_size, "sha256": files.checksum(path)}
            for path in paths
        ]

    def test_without_a_folder_it_lies_where_the_site_offers_it(self, project, tmp_path, settings):
        settings.VAR_DIR = tmp_path
        make_items(project, tmp_path, 1)
        manifest = export.export(delivered=make_delivered(project), by=owner_of(project))
        assert manifest == tmp_path / "exports" / "mails" / "mails-v1.manifest.json"
        assert Export.objects.get().folder == "exports/mails"

    def test_without_its_row_it_did_not_happen(self, project, tmp_path, monkeypatch):
        make_items(project, tmp_path, 1)
        monkeypatch.setattr(export, "record", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            written(make_delivered(project), tmp_path)
        assert not Export.objects.exists()


class TestManifest:
    def read(self, delivered, folder) -> dict:
        return json.loads(written(delivered, folder).read_text())

    def test_it_counts_rows(self, project, tmp_path):
        made = make_items(project, tmp_path, 4)
        make_gold(made[0], "yes", "active")
        found = self.read(make_delivered(project, label=[0, 0, 0, -1]), tmp_path)
        assert found["counts"] == {
            "rows": 4,
            "gold": 1,
            "machine": 2,
            "unlabeled": 1,
            "by_split": {"pool": 3, "train": 1},
        }

    def test_it_says_what_each_figure_speaks_of(self, project, tmp_path):
        make_items(project, tmp_path, 3)
        delivered = make_delivered(project)
        common = {"project": project, "delivered_version": delivered, "method": "wilson"}
        label = Label.objects.get(schema__project=project, name="no")
        for row in (
            {"estimand": "llm", "value": 0.8, "low": 0.7, "high": 0.9, "n": 50, "n_unresolved": 2, "population": 3},
            {"estimand": "delivered", "n": 0, "n_unresolved": 0, "population": 3, "reason": "nothing was audited"},
            {"estimand": "model_new_data", "value": 0.5, "n": 9, "n_unresolved": 0},
            {"estimand": "recall", "label": label, "value": 0.5, "n": 9, "n_unresolved": 0},
            {"estimand": "look", "value": 0.5, "n": 9, "n_unresolved": 0, "population": 3},
        ):
            Estimate.objects.create(**common, **row)
        found = self.read(delivered, tmp_path)
        llm, by_pool, new, recall, _ = found["estimates"]
        assert (llm["value"], llm["low"], llm["high"], llm["n"]) == (0.8, 0.7, 0.9, 50)
        assert llm["population"] == "all 3 items of the pool, audited items withdrawn since included as unresolved"
        assert (by_pool["value"], by_pool["reason"]) == (None, "nothing was audited")
        assert new["population"] == "future items of this source"
        assert recall["population"] == "the items of the pool whose gold is 'no'"
        assert (found["looks_spent"], found["unresolved"]) == (1, 2)

    def test_it_is_of_format_2_which_has_no_field_that_is_always_null(self, project, tmp_path):
        found = self.read(make_delivered(project), tmp_path)
        assert found["format"] == 2
        assert not {"alpha", "alpha_reason"} & found.keys() and "stratum" not in found["columns"]

    def test_it_says_what_it_rests_on(self, project, tmp_path):
        delivered = make_delivered(project)
        found = self.read(delivered, tmp_path)
        assert found["key_commitment"] == project.key_commitment
        assert found["frozen_at"] == delivered.frozen_at.isoformat()
        assert [label["name"] for label in found["labels"]] == ["yes", "no", "maybe"]
        assert ", ".join(found["columns"]) == LOOP
        assert found["project"]["slug"] == "mails"


class TestVerify:
    @pytest.fixture
    def manifest(self, project, tmp_path):
        make_items(project, tmp_path, rows=[{"text": "one\r\nline, or two"}, {"text": "b"}])
        return written(make_delivered(project), tmp_path)

    def test_it_finds_nothing_in_whole_files(self, manifest):
        assert export.verify_export(manifest) == []

    @pytest.mark.parametrize("number", [1, 2])
    def test_it_reads_manifests_of_earlier_formats(self, manifest, number):
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": number}))
        assert export.verify_export(manifest) == []

    @pytest.mark.parametrize("number", [3, "1", None])
    def test_it_refuses_formats_that_it_does_not_know(self, manifest, number):
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": number}))
        [problem] = export.verify_export(manifest)
        assert "this version knows 1 and 2" in problem

    def test_it_finds_one_changed_byte(self, manifest):
        path = manifest.with_name("mails-v1.csv")
        path.write_bytes(path.read_bytes().replace(b"machine", b"machinE", 1))
        [problem] = export.verify_export(manifest)
        assert problem.startswith("mails-v1.csv has checksum")

    def test_it_finds_a_missing_file(self, manifest):
        manifest.with_name("mails-v1.jsonl").unlink()
        assert export.verify_export(manifest) == ["mails-v1.jsonl is missing"]

    def test_it_finds_a_wrong_count(self, manifest):
        said = json.loads(manifest.read_text())
        said["counts"]["rows"] = 3
        manifest.write_text(json.dumps(said))
        assert len(export.verify_export(manifest)) == 2

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": [1], "counts": {"rows": 1}}', "null"])
    def test_it_refuses_what_is_no_manifest(self, manifest, content):
        manifest.write_text(content)
        assert "no manifest" in export.verify_export(manifest)[0]

    def test_it_reads_no_files_elsewhere(self, manifest):
        said = json.loads(manifest.read_text())
        said["files"][0]["name"] = "../secret"
        manifest.write_text(json.dumps(said))
        assert "is not the name of a file" in export.verify_export(manifest)[0]

    def test_it_counts_the_rows_of_a_file_that_is_no_text(self, manifest):
        content = b"a\r\n\xff\r\nb\r\n"
        manifest.with_name("mails-v1.csv").write_bytes(content)
        said = json.loads(manifest.read_text())
        entry = next(one for one in said["files"] if one["format"] == "csv")
        entry |= {"n_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest.write_text(json.dumps(said))
        assert export.verify_export(manifest) == []

    def test_a_manifest_with_odd_entries_says_nothing_of_a_file(self, manifest):
        manifest.write_text('{"counts": {"rows": 1}, "files": [{"name": ["x"], "sha256": ["y"]}]}')
        assert manifests.beside(manifest.with_name("mails-v1.csv")) == ()

    def test_it_says_that_the_manifest_is_missing(self, tmp_path):
        assert "cannot be read" in export.verify_export(tmp_path / "none.json")[0]


@pytest.mark.django_db(transaction=True)
def test_it_is_one_point_in_time_and_lets_others_write(events_can_be_flushed, tmp_path, monkeypatch):
    """Labels that arrive while it is written are not in it, and need not wait for it."""
    monkeypatch.setattr(provenance, "CHUNK_ROWS", 2)
    project = make_project()
    made = make_items(project, tmp_path, 6)
    delivered = make_delivered(project)

    def label_the_last():
        make_gold(made[-1], "yes")
        connection.close()

    def show(done, total):
        if done == 2:
            thread = threading.Thread(target=label_the_last)
            thread.start()
            thread.join(10)

    rows = jsonl_of(written(delivered, tmp_path, show=show))
    assert Gold.objects.count() == 1
    assert [row["label_source"] for row in rows] == ["machine"] * 6
    assert jsonl_of(written(delivered, tmp_path))[-1]["label_source"] == "gold"
