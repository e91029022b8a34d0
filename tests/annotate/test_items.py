"""Withdrawing items: all or none, and never a deletion."""

import pytest

from annotate import ingest, items
from annotate.errors import AccessDenied, InvalidInput, NotFound
from annotate.models import Event, Item
from tests.factories import make_member, make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(tmp_path):
    project = make_project()
    path = write_jsonl(tmp_path / "items.jsonl", rows_of(5))
    ingest.import_items(project=project, path=path, by=owner_of(project))
    return project


def withdraw(project, **ids) -> int:
    return items.withdraw(project=project, by=owner_of(project), **ids)


def in_pool(project) -> list[str | None]:
    rows = Item.objects.filter(project=project).in_pool().order_by("ordinal")
    return list(rows.values_list("external_id", flat=True))


def test_it_takes_items_out_of_the_pool_and_keeps_them(project):
    assert withdraw(project, external_ids=["item-1", "item-3"]) == 2
    assert in_pool(project) == ["item-0", "item-2", "item-4"]
    assert Item.objects.filter(project=project).count() == 5


def test_it_finds_items_by_either_id_once(project):
    item = Item.objects.get(project=project, external_id="item-1")
    assert withdraw(project, external_ids=["item-1", "item-1"], public_ids=[item.public_id]) == 1


def test_it_withdraws_all_or_none(project):
    with pytest.raises(NotFound, match="'gone', 'lost'.*nothing was"):
        withdraw(project, external_ids=["item-1", "gone", "lost"])
    assert len(in_pool(project)) == 5


def test_it_names_no_more_than_ten_missing_ids(project):
    with pytest.raises(NotFound, match="and 15 more"):
        withdraw(project, external_ids=[f"no-{i}" for i in range(25)])


def test_it_does_not_withdraw_twice(project):
    withdraw(project, external_ids=["item-1"])
    with pytest.raises(NotFound):
        withdraw(project, external_ids=["item-1"])


def test_it_does_not_see_another_projects_items(project):
    item = Item.objects.filter(project=project).first()
    with pytest.raises(NotFound):
        withdraw(make_project(), public_ids=[item.public_id])


def test_it_asks_for_an_id(project):
    with pytest.raises(InvalidInput, match="No item was named"):
        withdraw(project)


def test_it_belongs_to_those_who_manage(project):
    with pytest.raises(AccessDenied):
        items.withdraw(project=project, external_ids=["item-1"], by=make_member(project))


def test_it_records_which(project):
    item = Item.objects.get(project=project, external_id="item-2")
    withdraw(project, external_ids=["item-2"])
    event = Event.objects.get(kind="items.withdrawn")
    assert event.data == {"n_items": 1, "items": [item.public_id]}
    assert event.actor == owner_of(project)


def test_it_withdraws_more_than_one_chunk(project, tmp_path, monkeypatch):
    monkeypatch.setattr(items, "_CHUNK", 2)
    assert withdraw(project, external_ids=[row["id"] for row in rows_of(5)]) == 5
