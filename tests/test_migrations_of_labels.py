"""Labels and machine answers of the version before: each label gets its own id, each answer is a first attempt."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from annotate import label_changes, labels, projects
from annotate.label_changes import NextLabel
from annotate.models import Label, Prediction, Project
from annotate.projects import NewLabel
from tests.test_migrations import migrate

BEFORE = "0019_plain_names"
# Migrations that have landed never change: the slow suite tests these, each run that of the newest.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("events_can_be_flushed"),
]


@pytest.fixture
def migrated():
    """A project of the version before with three labels, gold and silver, as the newest version has it."""
    old = migrate(BEFORE)
    _project_of_before(old.get_model)
    _newest()
    yield Project.objects.get(slug="before")
    _newest()


def _newest():
    executor = MigrationExecutor(connection)
    executor.migrate([node for node in executor.loader.graph.leaf_nodes() if node[0] == "annotate"])


def _project_of_before(get_model):
    def make(which, /, **fields):
        return get_model("annotate", which).objects.create(**fields)

    owner = make("User", email="olga@before.example", is_active=True)
    project = make("Project", slug="before", name="Before", key=b"k", key_commitment="c", seed=1, next_ordinal=2)
    make("Member", project=project, user=owner, role="owner", is_trusted=True)
    schema = make("LabelSchema", project=project, version=1)
    names = [make("Label", schema=schema, index=i, name=name, colour=i + 1) for i, name in enumerate("abc")]
    source = make("Import", project=project, file_name="x", file_sha256="0", state="complete", n_items=2)
    prompt = make("PromptVersion", project=project, version=1, annotator="a", model="m", schema=schema, sha256="1")
    for ordinal in range(2):
        facts = {"ordinal": ordinal, "content_hash": str(ordinal), "prn": ordinal / 10, "fold": 0}
        item = make("Item", project=project, source=source, public_id=f"item-{ordinal}", **facts)
        make("Prediction", prompt=prompt, item=item, status="ok", label_index=ordinal)
        make("Gold", project=project, item=item, label=names[2], rule="imported", origin="imported", is_blind=False)


def test_labels_get_ids_of_their_own_and_read_as_they_are(migrated):
    ids = list(Label.objects.filter(schema__project=migrated).values_list("lasting_id", flat=True))
    assert len(set(ids)) == 3 and all(ids)
    history = labels.history(projects.current_schema(migrated))
    assert [history.gold_index(row.label_id) for row in migrated.gold.all()] == [2, 2]
    assert (history.schema.audit_cutoff, history.schema.reference_cutoff) == (None, None)


def test_each_answer_of_a_machine_is_a_first_attempt_that_counts(migrated):
    rows = Prediction.objects.filter(prompt__project=migrated).values_list("attempt", "is_current", "reply")
    assert list(rows) == [(1, True, None)] * 2


def test_its_labels_can_be_changed(migrated):
    new = [NextLabel(NewLabel("a"), was=("a",)), NextLabel(NewLabel("bc"), was=("b", "c"))]
    schema = label_changes.change(project=migrated, new=new, by=migrated.members.get().user)
    history = labels.history(schema)
    assert [history.gold_label(row.label_id).name for row in migrated.gold.all()] == ["bc", "bc"]


def test_it_goes_back_and_comes_again(migrated):
    migrate(BEFORE)
    _newest()
    assert Label.objects.filter(schema__project=migrated).count() == 3
    assert Prediction.objects.current().count() == 2
