"""Labels and machine answers that come with a file: gold, silver, and which of them may count."""

import pytest

from annotate.errors import InvalidInput
from annotate.imports import confidence
from annotate.models import (
    Draw,
    Gold,
    Item,
    ItemPayload,
    Label,
    Prediction,
)
from tests.annotate.imports.taking_in import only_rejected, take_in_rows
from tests.factories import make_project, rows_of

pytestmark = pytest.mark.django_db


class TestGold:
    def test_it_keeps_a_known_label_as_imported_gold(self, project, tmp_path):
        rows = [{"text": "a", "y": "yes"}, {"text": "b", "y": None}, {"text": "c"}, {"text": "d", "y": ""}]
        take_in_rows(project, tmp_path, rows, gold_field="y")
        [gold] = Gold.objects.all()
        assert (gold.label.name, gold.rule, gold.origin, gold.is_blind, gold.is_current) == (
            "yes",
            "imported",
            "imported",
            False,
            True,
        )
        [draw] = Draw.objects.all()
        assert (draw.item_id, draw.arm, draw.pi, draw.round) == (gold.item_id, "imported", None, None)
        assert draw.reason == "came with a label said to be gold"

    def test_it_takes_a_number_for_the_label_of_that_name(self, tmp_path):
        project = make_project(labels=("0", "1"))
        take_in_rows(project, tmp_path, [{"text": "a", "y": 1}], gold_field="y")
        assert Gold.objects.get().label.name == "1"

    def test_it_does_not_keep_labels_as_metadata(self, project, tmp_path):
        row = {"text": "a", "y": "yes", "s": "no", "p": 0.9, "other": 1}
        take_in_rows(project, tmp_path, [row], gold_field="y", silver_field="s", silver_confidence_field="p")
        assert ItemPayload.objects.get().metadata == {"p": 0.9, "other": 1}

    def test_it_adds_the_gold_of_a_duplicate_to_the_item_that_is_there(self, project, tmp_path):
        take_in_rows(project, tmp_path, [{"text": "a"}])
        source = take_in_rows(project, tmp_path, [{"text": "a", "y": "no"}], gold_field="y")
        assert Gold.objects.get().label.name == "no"
        assert source.rejected_rows.get().reason.endswith("its gold label was added to it")

    @pytest.mark.parametrize("gap", [0, 9])
    def test_it_rejects_gold_that_contradicts(self, project, tmp_path, small_chunks, gap):
        rows = [{"text": "a", "y": "no"}, *rows_of(gap), {"text": "a", "y": "yes"}, {"text": "a", "y": "no"}]
        source = take_in_rows(project, tmp_path, rows, gold_field="y")
        assert only_rejected(source).reason == "says gold is 'yes'; the same content has gold 'no' already"
        assert (Gold.objects.get().label.name, source.n_duplicates) == ("no", 1)

    def test_it_leaves_the_audits_own_answer_alone(self, project, tmp_path):
        take_in_rows(project, tmp_path, [{"text": "a"}])
        label = Label.objects.get(schema__project=project, name="yes")
        item = Item.objects.get()
        Gold.objects.create(project=project, item=item, label=label, rule="one_trusted", origin="audit", is_blind=True)
        source = take_in_rows(project, tmp_path, [{"text": "a", "y": "no"}], gold_field="y")
        assert source.n_rejected == 0
        assert sorted(Gold.objects.values_list("origin", "label__name")) == [("audit", "yes"), ("imported", "no")]


class TestSilver:
    def silver(self, project, tmp_path, *rows, **options) -> list[Prediction]:
        numbered = [{"text": f"text {i}", **row} for i, row in enumerate(rows)]
        take_in_rows(project, tmp_path, numbered, silver_field="llm", **options)
        return list(Prediction.objects.order_by("item__ordinal"))

    def test_it_takes_our_labels_however_they_are_written_and_never_the_nearest(self, project, tmp_path):
        answers = ({"llm": "no"}, {"llm": "No."}, {"llm": None}, {}, {"llm": " "}, {"llm": ["No "]})
        rows = self.silver(project, tmp_path, *answers)
        assert [(row.status, row.label_index) for row in rows] == [
            ("ok", 1),
            ("out_of_set", None),
            ("missing", None),
            ("missing", None),
            ("empty", None),
            ("ok", 1),
        ]
        assert rows[1].message == "answered 'No.'"

    def test_it_says_where_the_labels_came_from(self, project, tmp_path):
        [row] = self.silver(project, tmp_path, {"llm": "yes"})
        prompt = row.prompt
        assert (prompt.annotator, prompt.model, prompt.version) == ("imported", "llm", 1)
        assert prompt.schema == project.schemas.get()
        assert len(prompt.sha256) == 64

    def test_a_column_may_have_a_long_name(self, project, tmp_path):
        name = "l" * 300
        take_in_rows(project, tmp_path, [{"text": "a", name: "yes"}], silver_field=name)
        prompt = project.prompts.get()
        assert prompt.parameters["field"] == name and prompt.model == "l" * 200

    def test_it_uses_one_prompt_version_for_every_file_with_this_column(self, project, tmp_path):
        self.silver(project, tmp_path, {"llm": "yes"})
        self.silver(project, tmp_path, {"text": "other", "llm": "no"})
        assert project.prompts.count() == 1
        assert Prediction.objects.count() == 2

    def test_it_knows_the_distribution_of_two_labels(self, tmp_path):
        project = make_project(labels=("neg", "pos"))
        rows = self.silver(
            project,
            tmp_path,
            {"llm": "pos", "p": 0.75},
            {"llm": "neg", "p": 0.75},
            {"llm": "neg", "p": 1},
            silver_confidence_field="p",
        )
        found = [row.vector().tolist() for row in rows]
        assert found == [[0.25, 0.75], [0.75, 0.25], [1.0, 0.0]]

    @pytest.mark.parametrize("p", [None, "much", 1.2, -0.1, True, [0.5], "-3%", "nan", ""])
    def test_it_leaves_an_unusable_confidence_unknown(self, tmp_path, p):
        project = make_project(labels=("neg", "pos"))
        [row] = self.silver(project, tmp_path, {"llm": "pos", "p": p}, silver_confidence_field="p")
        assert (row.status, row.probabilities) == ("ok", None)
        assert ("is no fraction" in row.message) == (p not in (None, ""))

    @pytest.mark.parametrize("p", [[87, "92", 40.5], ["87%", " 92 %", "40,5"], ["87", 92, "40,5%"]])
    def test_percents_are_read_as_such(self, tmp_path, p):
        project = make_project(labels=("neg", "pos"))
        rows = self.silver(
            project, tmp_path, *({"llm": "pos", "p": one} for one in p), {"llm": "neg", "p": 120},
            silver_confidence_field="p",
        )  # fmt: skip
        assert [row.vector()[1] for row in rows[:3]] == pytest.approx([0.87, 0.92, 0.405])
        assert (rows[3].probabilities, rows[3].message) == (
            None,
            "the confidence '120' is no percent, so it is unknown",
        )
        notes = confidence.report(project.imports.get())
        assert "as percent" in notes[0] and "1 of them is no such number" in notes[1]

    def test_fractions_with_a_decimal_comma(self, tmp_path):
        project = make_project(labels=("neg", "pos"))
        rows = self.silver(
            project, tmp_path, {"llm": "pos", "p": "0,75"}, {"llm": "neg", "p": "0.5"}, {"llm": "pos", "p": 1},
            silver_confidence_field="p",
        )  # fmt: skip
        assert [row.vector()[1] for row in rows] == [0.75, 0.5, 1.0]
        assert confidence.report(project.imports.get()) == [
            'The confidences in "p" are read as fractions, from 0 to 1.'
        ]

    def test_it_invents_no_distribution_over_three_labels(self, project, tmp_path):
        [row] = self.silver(project, tmp_path, {"llm": "yes", "p": 0.9}, silver_confidence_field="p")
        assert row.probabilities is None
        assert row.item.content.metadata == {"p": 0.9}

    def test_it_keeps_the_first_label_of_equal_content(self, project, tmp_path):
        self.silver(project, tmp_path, {"text": "a", "llm": "yes"}, {"text": "a", "llm": "no"})
        assert Prediction.objects.get().label_index == 0

    def test_it_adds_labels_to_items_that_are_there(self, project, tmp_path):
        take_in_rows(project, tmp_path, [{"text": "a"}])
        [row] = self.silver(project, tmp_path, {"text": "a", "llm": "yes"})
        assert row.item.external_id is None

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"gold_field": "text"}, "is the item itself"),
            ({"silver_field": "id"}, "is the item itself"),
            ({"gold_field": "y", "silver_field": "y"}, "different columns"),
            ({"silver_confidence_field": "p"}, "needs the column"),
        ],
    )
    def test_it_refuses_columns_that_cannot_be(self, project, tmp_path, options, reason):
        with pytest.raises(InvalidInput, match=reason):
            take_in_rows(project, tmp_path, rows_of(1), **options)
