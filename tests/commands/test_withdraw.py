"""manage.py withdraw."""

import pytest
from django.core.management import CommandError, call_command

from annotate.imports import ingest
from annotate.models import Item
from tests.factories import make_project, owner_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(tmp_path):
    project = make_project(name="Mails")
    path = write_jsonl(tmp_path / "items.jsonl", rows_of(3))
    ingest.import_items(project=project, path=path, by=owner_of(project))
    return project


def test_it_withdraws_by_external_id(project, capsys):
    call_command("withdraw", "mails", "item-0", "item-2")
    assert "2 items withdrawn." in capsys.readouterr().out
    assert Item.objects.in_pool().get().external_id == "item-1"


def test_it_withdraws_by_public_id(project):
    call_command("withdraw", "mails", "--public", Item.objects.get(external_id="item-1").public_id)
    assert Item.objects.in_pool().count() == 2


def test_it_names_ids_that_are_not_there(project):
    with pytest.raises(CommandError, match="'item-7'"):
        call_command("withdraw", "mails", "item-0", "item-7")
    assert Item.objects.in_pool().count() == 3
