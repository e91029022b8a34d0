"""Who takes part in the story of an admin, and what its dataset must say: row for row what the tables say."""

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from benchmarks.site import Site
from tests.e2e.conftest import Browsing
from tests.e2e.sheet import LABELS, Sheet
from tests.stub_llm import Stub

N_ASKED = 24
# What the dataset must say of every item, straight from the tables.
ROWS = """
SELECT item.external_id, json_extract(content.payload, '$.text'), gold_label.name, gold.rule, silver_label.name,
  said.status, item.fold, (SELECT count(*) FROM annotate_annotation answer WHERE answer.item_id = item.id
    AND answer.is_current AND answer.is_counted AND answer.label_id IS NOT NULL)
FROM annotate_item item
JOIN annotate_itempayload content ON content.item_id = item.id
LEFT JOIN annotate_gold gold ON gold.item_id = item.id AND gold.is_current
LEFT JOIN annotate_label gold_label ON gold_label.id = gold.label_id
LEFT JOIN annotate_prediction said ON said.item_id = item.id
LEFT JOIN annotate_promptversion prompt ON prompt.id = said.prompt_id
LEFT JOIN annotate_label silver_label
  ON silver_label.schema_id = prompt.schema_id AND silver_label."index" = said.label_index
ORDER BY item.ordinal
"""


@dataclass
class Story:
    """Who takes part, and what they have in hand."""

    site: Site
    browsing: Browsing
    stub: Stub
    sheet: Sheet
    folder: Path
    links: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.site.url

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.site.database) as connection:
            return connection.execute(query).fetchall()

    def number(self, query: str) -> int:
        return int(self.rows(query)[0][0] or 0)


def check_dataset(rows: list[dict[str, Any]], story: Story, differ: set[str]) -> None:
    """The file is the tables, row for row, and says what people said."""
    assert [exported(row) for row in rows] == story.rows(ROWS)
    assert [row["payload"]["text"] for row in rows] == list(story.sheet.texts)
    gold = [row for row in rows if row["label_source"] == "gold"]
    assert len(gold) == N_ASKED and {row["n_annotations"] for row in gold} == {2}
    assert all(row["label"] == story.sheet.texts[row["payload"]["text"]] for row in gold)
    assert {row["payload"]["text"] for row in gold if row["gold_rule"] == "adjudicated"} == differ
    assert {row["gold_rule"] for row in gold} == {"agree_k", "adjudicated"}
    delivered = machine_labels(story)
    machine = {place: row for place, row in enumerate(rows) if row["label_source"] == "machine"}
    assert len(gold) + len(machine) == len(rows)
    assert all(row["label"] == delivered[place] and row["gold_rule"] is None for place, row in machine.items())
    n_right = sum(row["silver_label"] == story.sheet.texts[row["payload"]["text"]] for row in rows)
    assert 0.65 < n_right / len(rows) < 0.95  # as good as the server was told to be


def machine_labels(story: Story) -> list[str]:
    """What was frozen for delivery, of every item in the order of the file that it came from."""
    query = "SELECT file FROM annotate_deliveredversion ORDER BY version DESC LIMIT 1"
    [path] = story.site.folder.rglob(Path(story.rows(query)[0][0]).name)
    arrays = load_file(path)
    assert arrays["ordinal"].tolist() == list(range(len(story.sheet.texts)))
    return [list(LABELS)[index] for index in arrays["label"].tolist()]


def exported(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        row["external_id"],
        row["payload"]["text"],
        row["label"] if row["label_source"] == "gold" else None,
        row["gold_rule"],
        row["silver_label"],
        row["silver_status"],
        row["fold"],
        row["n_annotations"],
    )
