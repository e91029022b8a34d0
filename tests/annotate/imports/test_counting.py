"""The count of a whole file says what its import gives, whatever the chunks."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.errors import AccessDenied, InvalidInput
from annotate.imports import counting, ingest, uploads
from annotate.items.withdrawal import withdraw
from annotate.models import Gold, Import, Item, Prediction
from tests.annotate.imports.taking_in import take_in_rows
from tests.factories import make_member, make_project, owner_of

pytestmark = pytest.mark.django_db
COLUMNS = {"text": "text", "id": "id", "gold": "y", "silver": "s"}


def sent(project, rows: list[dict]):
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return uploads.receive(project=project, by=owner_of(project), file_name="x.jsonl", chunks=[content])


def count(upload, **options):
    said = {"dialect": {"format": "jsonl"}, "columns": COLUMNS, **options}
    by = owner_of(upload.project)
    return counting.count(project=upload.project, by=by, upload=upload.public_id, **said)


texts = st.sampled_from([f"text {n}" for n in range(8)])
rows = st.fixed_dictionaries(
    {"text": texts | st.just("")},
    optional={
        "id": st.sampled_from("pqr"),
        "y": st.sampled_from(["yes", " No", "perhaps", ""]),
        "s": st.sampled_from(["yes", "nope", ""]),
    },
)


@pytest.mark.portable
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(rows, max_size=5), now=st.lists(rows, min_size=1, max_size=25), size=st.integers(1, 30))
def test_it_says_what_the_import_gives(tmp_path_factory, before, now, size):
    project = make_project()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "CHUNK_ROWS", size)
        if before:
            folder = tmp_path_factory.getbasetemp()
            take_in_rows(project, folder, before, gold_field="y", silver_field="s")
            for item in Item.objects.filter(project=project).in_pool()[:1]:
                withdraw(project=project, by=owner_of(project), public_ids=[item.public_id])
        upload = sent(project, now)
        counted = count(upload)
        done = ingest.import_upload(
            project=project,
            by=owner_of(project),
            upload=upload.public_id,
            dialect={"format": "jsonl"},
            columns=COLUMNS,
        )
    told = {name: counted[name] for name in ("n_items", "n_revived", "n_duplicates", "n_rejected")}
    assert told == {name: getattr(done, name) for name in told}
    assert counted["n_rows"] == len(now)
    assert counted["n_gold"] == Gold.objects.filter(item__source=done).count()
    silver = Prediction.objects.filter(item__source=done)
    assert counted["n_silver"] == silver.filter(status="ok").count()
    assert counted["n_silver_failed"] == silver.exclude(status="ok").count()


def test_it_stores_nothing(project):
    assert count(sent(project, [{"text": "a"}]))["n_items"] == 1
    assert not Item.objects.exists() and not Import.objects.exists()


def test_it_warns_of_what_nobody_named(project):
    counted = count(sent(project, [{"text": "a", "label": "yes"}]), columns={"text": "text"})
    assert "'label'" in counted["warnings"][0] and counted["n_gold"] == 0


def test_it_belongs_to_those_who_manage(project):
    upload = sent(project, [{"text": "a"}])
    with pytest.raises(AccessDenied):
        counting.count(
            project=project, by=make_member(project), upload=upload.public_id, dialect={}, columns={"text": "text"}
        )
    with pytest.raises(InvalidInput):
        count(upload, columns={"text": None})
