"""Small files that people's tools write, in tests/cases/, and what an import has to make of each: on the page, by the
command and by the API alike, and as the count of the whole file says beforehand."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotate.models import Gold, Item, Prediction, Project, RejectedRow
from tests.factories import make_project

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    labels: tuple[str, ...]
    texts: list[str] | int  # of the items, in order; or how many
    columns: dict[str, str] = field(default_factory=dict)  # of labels, by role, as somebody names them
    gold: dict[str, str] = field(default_factory=dict)  # label by text
    silver: dict[str, int] = field(default_factory=dict)  # how many by label
    metadata: dict[str, Any] | None = None  # of the first item
    external_id: str | None = None  # of the first item
    reasons: list[str] = field(default_factory=list)  # parts of the reasons of rows set aside
    warning: str = ""  # a part of it


CASES: dict[str, Case] = {
    "capital_silver.csv": Case(
        ("spam", "ham"), 120, {"silver": "prediction"}, silver={"spam": 61, "ham": 59}, metadata={}
    ),
    "tricky.jsonl": Case(("a", "b"), 120, external_id="000"),
    "tsv_quotes.tsv": Case(
        ("pos", "neg"),
        [
            "The soup was cold.", '"We waited an hour.', 'Still the waiter smiled and it was worth it."',
            "Lovely terrace.",
        ],
        {"gold": "label"},
        gold={
            "The soup was cold.": "neg", '"We waited an hour.': "neg",
            'Still the waiter smiled and it was worth it."': "pos", "Lovely terrace.": "pos",
        },
    ),
    "excel_trailing.csv": Case(
        ("a", "b"), ["first one", "second one"], {"gold": "label"}, {"first one": "a", "second one": "b"}, metadata={}
    ),
    "doccano_lists.jsonl": Case(
        ("pos", "neg"), ["bad soup", "good soup", "soup"], {"gold": "label"}, {"bad soup": "neg", "good soup": "pos"}
    ),
    "two_labels.jsonl": Case(
        ("pos", "neg"), ["good soup"], {"gold": "label"}, {"good soup": "pos"}, reasons=["names several labels"]
    ),
    "bool_labels.jsonl": Case(
        ("true", "false"), ["is spam indeed", "is not spam"], {"gold": "label"},
        {"is spam indeed": "true", "is not spam": "false"},
    ),
    "space_after_comma.csv": Case(("a", "b"), ["hello", "bye"], {"gold": "label"}, {"hello": "a", "bye": "b"}),
    "category_column.csv": Case(
        ("a", "b"), ["the lamp broke", "nice chair"], metadata={"category": "Lighting"}, warning="'category'"
    ),
    "one_per_line.txt": Case(
        ("a", "b"), ["My card was declined twice, why?", "I cannot log in", "Where is my refund"]
    ),
    "nested.jsonl": Case(("a", "b"), ["where is it"], metadata={"meta": {"lang": "en"}}, external_id="7"),
    "array.json": Case(("a", "b"), ["one", "two"], {"silver": "out.label"}, silver={"a": 1, "b": 1}),
    "no_header.csv": Case(
        ("pos", "neg"), ["good soup", "bad soup", "cold soup"], {"text": "column 1", "gold": "column 2"},
        {"good soup": "pos", "bad soup": "neg", "cold soup": "neg"},
    ),
    "unnamed_label.csv": Case(
        ("pos", "neg"), ["good soup", "bad soup"], metadata={"label": "pos"}, warning="'label'"
    ),
}  # fmt: skip


def content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def project_for(name: str) -> Project:
    return make_project(labels=CASES[name].labels)


def check(name: str, project: Project) -> None:
    """The project holds what the file says, and nothing else."""
    case = CASES[name]
    items = list(Item.objects.filter(project=project).in_pool().order_by("ordinal"))
    texts = [item.content.payload["text"] for item in items]
    assert (len(texts) if isinstance(case.texts, int) else texts) == case.texts
    gold = Gold.objects.filter(project=project).select_related("item", "label")
    assert {row.item.content.payload["text"]: row.label.name for row in gold} == case.gold
    names = {label.index: label.name for label in project.schemas.get().labels.all()}
    silver = [names.get(row.label_index) for row in Prediction.objects.filter(item__project=project)]
    assert {label: silver.count(label) for label in silver} == case.silver
    if case.metadata is not None:
        assert items[0].content.metadata == case.metadata
    if case.external_id is not None:
        assert items[0].external_id == case.external_id
    rejected = RejectedRow.objects.filter(source__project=project, kind="rejected").order_by("line")
    assert len(rejected) == len(case.reasons)
    assert all(reason in row.reason for reason, row in zip(case.reasons, rejected, strict=True))


def check_counted(counted: dict[str, Any], imported: dict[str, Any], name: str, project: Project) -> None:
    """The count of the whole file said beforehand what the import gave."""
    case = CASES[name]
    assert {key: value for key, value in counted.items() if key in imported} == {
        key: value for key, value in imported.items() if key != "import"
    }
    assert counted["n_gold"] == len(case.gold) and counted["n_silver"] == sum(case.silver.values())
    assert any(case.warning in warning for warning in imported["warnings"]) or not case.warning
    assert case.warning or not imported["warnings"]
