"""A slot of a question is taken while one is free, and never for somebody who has answered."""

import pytest

from annotate.labeling import slots
from tests.annotate.asking import answer
from tests.factories import make_member, owner_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry(asked):
    return asked(overlap=2).rounds.get().queue.first()


def owner(entry):
    return owner_of(entry.round.project)


def test_a_slot_is_taken_while_one_is_free(entry):
    assert [slots.take([entry.pk], unless_said_by=owner(entry).pk) for _ in range(3)] == [True, True, False]
    entry.refresh_from_db()
    assert entry.n_taken == 2


def test_no_slot_is_taken_by_who_has_answered(entry):
    ann = make_member(entry.round.project)
    answer(entry, owner(entry))
    assert not slots.take([entry.pk], unless_said_by=owner(entry).pk)
    assert slots.take([entry.pk], unless_said_by=ann.pk)
