"""What programs learn of machines' answers: the attempt that counts, and what was replied, for managers alone."""

import pytest

from annotate.models import Prediction, QueueEntry, Run
from annotate.models.project import Role
from annotate.silver import connections, prompts
from tests.factories import make_connection, make_member, owner_of
from tests.rows import make_items

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("keys_in_a_temporary_folder")]
REPLY = "It is about yes and no."


@pytest.fixture
def asked(project):
    """Three items: a failure asked again and labeled, a failure, and one of which people are asked."""
    owner = owner_of(project)
    owner.is_site_owner = True
    owner.save()
    row = make_connection(owner)
    connections.lend(connection=row, project=project, by=owner)
    connections.choose(project=project, connection=row, by=owner)
    project.refresh_from_db()
    prompt = prompts.version(**prompts.of_connection(project, row, connections.endpoint_of(row)))
    again, failed = make_items(project, 2)
    open_item = QueueEntry.objects.filter(round__project=project, round__state="open").first().item
    Prediction.objects.create(prompt=prompt, item=again, status="refusal", reply="No.", is_current=False)
    Prediction.objects.create(prompt=prompt, item=again, status="ok", label_index=1, attempt=2)
    for item in (failed, open_item):
        Prediction.objects.create(prompt=prompt, item=item, status="out_of_set", reply=REPLY)
    return again, failed, open_item


def answers(program):
    return {row["item"]: row for row in program.get("predictions").json()["results"]}


def test_the_attempt_that_counts(olga, asked):
    again = answers(olga)[asked[0].public_id]
    assert (again["status"], again["label"], again["attempt"], again["reply"]) == ("ok", 1, 2, None)
    assert len(answers(olga)) == 3


def test_what_was_replied_is_for_managers_unless_people_are_asked(olga, asking, asked, project):
    assert [answers(olga)[item.public_id]["reply"] for item in asked[1:]] == [REPLY, None]
    viewer = asking(make_member(project, "Vera", role=Role.VIEWER), "read")
    assert {row["reply"] for row in answers(viewer).values()} == {None}


def test_failed_ones_are_quoted_and_asked_again(olga, asked, project):
    olga.put("budgets/machine", {"cap_micros": 10**9})
    pending = project.items.count() - 3
    assert olga.get("quote").json()["n_items"] == pending
    assert olga.get("quote?failed_again=true").json()["n_items"] == 2
    made = olga.post("runs", {"kind": "prelabel", "parameters": {"failed_again": True}}, Idempotency_Key="k" * 16)
    assert made.status_code == 201, made.content
    assert made.json()["parameters"]["failed_again"] is True
    assert Run.objects.get(kind="prelabel").parameters["failed_until"] == Prediction.objects.failed().last().pk


def test_which_ones_nobody_chooses(olga, asked):
    for given in ({"failed_until": 1}, {"failed_again": True, "failed_until": 1}, {"failed_again": "yes"}):
        assert olga.post("runs", {"kind": "prelabel", "parameters": given}).status_code == 422
