"""A project of the version before has no seals: its first pass vouches for nothing. Seals go back, too."""

import pytest
from django.db import DatabaseError, transaction

from annotate.models import Project, Seal
from annotate.seals import checking, sealing
from tests.test_migrations import migrate
from tests.test_migrations_of_labels import _newest, _project_of_before

BEFORE = "0022_asked_again"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("events_can_be_flushed")]


@pytest.fixture
def before():
    """A project of the version before, with labels, items, gold and silver."""
    old = migrate(BEFORE)
    _project_of_before(old.get_model)
    yield
    _newest()


def test_an_older_project_is_sealed_as_not_vouched_for_and_seals_go_back(before):
    _newest()
    project = Project.objects.get(slug="before")
    assert not project.is_sealed_from_start
    seal = sealing.seal(project)
    assert (seal.sequence, seal.is_vouched, checking.n_unsealed(project)) == (1, False, 0)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        Seal.objects.update(n_rows=0)
    assert list(checking.row_problems(project)) == []
    old = migrate(BEFORE)
    assert old.get_model("annotate", "Gold").objects.count() == 2
    with pytest.raises(LookupError):
        old.get_model("annotate", "Seal")
