"""A project of the version before has no seals: its first pass vouches for nothing. Seals go back, too."""

import pytest
from django.db import DatabaseError, transaction

from annotate import verification
from annotate.learning import estimation
from annotate.models import Project, Seal
from annotate.seals import checking, sealing
from tests.annotate.changed_by_hand import settled
from tests.factories import owner_of
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


@pytest.fixture
def filled(tmp_path):
    """A project whose rows were all made by the program, as the version before had them."""
    project = settled(tmp_path)
    estimation.estimate(project=project, by=owner_of(project))  # of the version in force, besides the earlier one
    migrate(BEFORE)
    _newest()
    yield Project.objects.get(pk=project.pk)
    _newest()


@pytest.mark.slow
def test_of_a_filled_project_nothing_is_wrong_before_or_after_its_first_seal(filled):
    def findings():
        return {name: verification.outcome(check, filled) for name, check in verification.CHECKS.items()}

    assert {name: one.problems for name, one in findings().items() if one.problems} == {}
    sealing.seal(None)
    sealing.seal(filled)
    found = findings()
    assert {name: one.problems for name, one in found.items() if one.problems} == {}
    reasons = {name: [one.reason for one in here.not_checked] for name, here in found.items() if here.not_checked}
    rows = ("sealed rows are as they were sealed", "the site's sealed rows are as they were sealed")
    figures = ("figures follow from the audit sample", "figures were computed from the rows of their time")
    elsewhere = reasons.pop("files have their checksums")
    assert len(elsewhere) == 1 and elsewhere[0].startswith("exports written elsewhere")
    assert reasons.keys() == {*rows, *figures}
    assert all(reason.startswith("not vouched for") for name in rows for reason in reasons[name])
    assert all("before their inputs were kept" in reason for name in figures for reason in reasons[name])
    assert [len(reasons[name]) for name in figures] == [1, 2]  # those in force are compared with the rows of today
