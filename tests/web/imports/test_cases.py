"""Files of other tools on the pages: sent, asked about, counted whole, imported."""

import html
import re

import pytest

from annotate.models import Run, Upload
from tests.cases import CASES, check, check_counted, content, project_for
from tests.factories import owner_of
from tests.web.imports.sending import page, perform, send, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.portable]


def fields_of(body: str, action: str) -> dict[str, str]:
    """The hidden fields of the form with this address."""
    form = body.split(f'action="{action}"')[1].split("</form>")[0]
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form)
    return {html.unescape(name): html.unescape(value) for name, value in found if name != "csrfmiddlewaretoken"}


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_another_tool(signed_in, name):
    project = project_for(name)
    client = signed_in(owner_of(project))
    address = send(client, project, content(name), name).url
    said = {f"column_{role}": column for role, column in CASES[name].columns.items()}
    body = client.get(address, said).content.decode()
    shown = client.get(address, answered(body, CASES[name].columns, address, said)).content.decode()
    upload = Upload.objects.get().public_id
    chosen = fields_of(shown, page(project, "start", upload))
    assert client.post(page(project, "count", upload), chosen).status_code == 303
    counted = perform(Run.objects.get(kind="count")).result
    assert client.post(page(project, "start", upload), chosen).status_code == 303
    imported = perform(Run.objects.get(kind="import"))
    assert imported.state == "succeeded"
    check(name, project)
    check_counted(counted, imported.result, name, project)


def answered(body: str, columns: dict[str, str], address: str, said: dict[str, str]) -> dict[str, str]:
    """The form with each question answered: as the columns were named, else that the labels are only metadata."""
    asked = {name: value for name, value in fields_of(body, address).items() if name.startswith("label_")}
    roles = {column: role for role, column in columns.items()}
    answers = {
        f"meaning_{name.removeprefix('label_')}": roles.get(column, "metadata") for name, column in asked.items()
    }
    content = {name: value for name, value in said.items() if name == "column_text"}
    return {**asked, **answers, **content}


class TestTheQuestion:
    def look(self, client, project, said=()):
        return text_of(client.get(page(project, "preview", Upload.objects.get().public_id), dict(said)))

    def test_a_column_is_not_gold_by_its_name(self, signed_in):
        project = project_for("unnamed_label.csv")
        client = signed_in(owner_of(project))
        send(client, project, content("unnamed_label.csv"), "x.csv")
        text = self.look(client, project)
        assert "What are the labels in “label”?" in text and "never audited" in text
        assert "Before it can be imported: say above what the labels are." in text and "Import 2 rows" not in text
        assert "checked" not in text.split("meaning_0")[1].split("</fieldset>")[0]

    @pytest.mark.parametrize("answer", ["gold", "silver", "metadata"])
    def test_an_answer_lets_it_be_imported(self, signed_in, answer):
        project = project_for("unnamed_label.csv")
        client = signed_in(owner_of(project))
        send(client, project, content("unnamed_label.csv"), "x.csv")
        text = self.look(client, project, {"label_0": "label", "meaning_0": answer})
        assert "Import 2 rows" in text
        chosen = fields_of(text, page(project, "start", Upload.objects.get().public_id))
        assert {role for role in ("gold", "silver") if chosen[f"column_{role}"] == "label"} == {answer} - {"metadata"}

    def test_two_columns_cannot_be_gold(self, signed_in):
        project = project_for("unnamed_label.csv")
        client = signed_in(owner_of(project))
        send(client, project, b"text,label,target\na,pos,neg\n", "x.csv")
        said = {"label_0": "label", "meaning_0": "gold", "label_1": "target", "meaning_1": "gold"}
        assert "Only one column can be that" in self.look(client, project, said)

    def test_values_that_are_no_labels_may_become_the_labels(self, signed_in):
        project = project_for("category_column.csv")
        client = signed_in(owner_of(project))
        send(client, project, content("category_column.csv"), "x.csv")
        text = self.look(client, project)
        assert "None of its values is a label of this project" in text and "Import 2 rows" in text
        chosen = fields_of(text, f"/p/{project.slug}/settings/labels")
        assert client.post(f"/p/{project.slug}/settings/labels", chosen).status_code == 303
        names = [label.name for label in project.schemas.order_by("-version")[0].labels.order_by("index")]
        assert sorted(names) == ["Furniture", "Lighting"]
        assert "What are the labels in “category”?" in self.look(client, project)
        assert "Import 2 rows" not in self.look(client, project)

    def test_lone_quotes_can_be_read_the_other_way(self, signed_in):
        project = project_for("tsv_quotes.tsv")
        client = signed_in(owner_of(project))
        send(client, project, content("tsv_quotes.tsv"), "x.tsv")
        assert "4 rows" in self.look(client, project)
        text = self.look(client, project, {"quoting": "on"})
        assert "3 rows" in text and "perhaps a double quote is a character like others" in text

    def test_a_long_file_is_read_in_part(self, signed_in):
        project = project_for("unnamed_label.csv")
        client = signed_in(owner_of(project))
        rows = b"".join(b"a text of some length, %08d\n" % n for n in range(100_000))
        send(client, project, b"text\n" + rows, "x.csv")
        text = self.look(client, project)
        assert "only the first 1.0 MB were read" in text and "Count the whole file first" in text
        n_rows = int(re.search(r"import about ([0-9,]+) rows", text)[1].replace(",", ""))
        assert abs(n_rows - 100_000) < 2_000
