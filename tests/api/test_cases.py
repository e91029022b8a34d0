"""Files of other tools by the API: looked at, counted whole, imported, with the columns of labels named."""

from typing import Any

import pytest

from annotate.models import Run
from tests.api.conftest import Program
from tests.cases import CASES, check, check_counted, content, project_for
from tests.factories import owner_of
from tests.web.imports.sending import perform

pytestmark = [pytest.mark.django_db, pytest.mark.portable]


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_another_tool(name):
    project, case = project_for(name), CASES[name]
    program = Program(owner_of(project), project=project)
    sent = program.post(f"uploads?file_name={name}", content(name), content_type="text/csv").json()
    said: dict[str, Any] = {"columns": case.columns}
    seen = program.post(f"uploads/{sent['id']}/preview", said).json()
    assert (seen["problem"], seen["is_whole"], seen["n_new"]) == ("", True, seen["n_rows"] - len(case.reasons))
    counted = done(program.post(f"uploads/{sent['id']}/count", said, Idempotency_Key="a"))
    imported = done(program.post("imports", {**said, "upload": sent["id"]}, Idempotency_Key="b"))
    check(name, project)
    check_counted(counted, imported, name, project)
    assert imported["warnings"] == seen["warnings"] == program.get("imports").json()["results"][0]["warnings"]


def done(response: Any) -> dict[str, Any]:
    """The result of the run that was started."""
    assert response.status_code == 201, response.content
    run = perform(Run.objects.get(public_id=response.json()["id"]))
    assert run.state == "succeeded", run.message
    return run.result


def test_the_preview_says_what_may_be_labels():
    project = project_for("unnamed_label.csv")
    program = Program(owner_of(project), project=project)
    sent = program.post("uploads?file_name=x.csv", content("unnamed_label.csv"), content_type="text/csv").json()
    seen = program.post(f"uploads/{sent['id']}/preview").json()
    assert seen["mapping"]["gold"] is None and "'label'" in seen["warnings"][0]
    names = [{"name": "pos", "n": 1, "is_known": True}, {"name": "neg", "n": 1, "is_known": True}]
    assert seen["label_columns"] == [{"name": "label", "role": None, "suggested": "gold", "names": names}]


def test_a_dialect_can_be_said():
    project = project_for("tsv_quotes.tsv")
    program = Program(owner_of(project), project=project)
    sent = program.post("uploads?file_name=x.tsv", content("tsv_quotes.tsv"), content_type="text/csv").json()
    for said, n_rows in (({}, 4), ({"quoting": True}, 3), ({"header_line": 0}, 5), ({"delimiter": "\n"}, 4)):
        seen = program.post(f"uploads/{sent['id']}/preview", {"dialect": said, "columns": {}}).json()
        assert seen["n_rows"] == n_rows, said
        assert {name: seen["dialect"][name] for name in said} == said
