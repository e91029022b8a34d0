"""The file of an admin, as a spreadsheet writes it, and the right label of each text in it."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

from tests.e2e.prepare import DEMO

LABELS = {
    "card_arrival": "A card that was ordered has not come yet.",
    "lost_or_stolen_card": "The card was lost, or somebody took it.",
    "cash_withdrawal_charge": "A fee was taken for cash from a machine.",
    "declined_card_payment": "A payment by card was refused.",
}
N_EACH = 30  # texts of each label


@dataclass
class Sheet:
    """The file that the admin has: how a spreadsheet writes it where the comma is for decimals."""

    content: bytes
    texts: dict[str, str]  # the right label of each text that can be used, in the order of the file
    bad_line: int  # where the row begins that lacks a cell
    n_twice: int = 1


def spreadsheet() -> Sheet:
    """Semicolons, a byte order mark, quotes and line breaks within cells, a column that nobody asked for."""
    texts: dict[str, str] = {}
    lines = [_line("id", "text", "channel")]
    bad_line = 0
    for number, (text, label) in enumerate(_questions()):
        if number == 50:
            bad_line = 1 + "".join(lines).count("\n")
            lines.append('row-torn;"This row lost its last cell; somebody cut it off"\r\n')
        if number == 70:
            lines.append(_line("row-twice", next(iter(texts)), "mail"))
        texts[text] = label
        lines.append(_line(f"row-{number:03}", text, "chat" if number % 3 else "mail; forwarded"))
    return Sheet("".join(lines).encode("utf-8-sig"), texts, bad_line)


def _questions() -> Iterator[tuple[str, str]]:
    """Texts with their labels, some as people write them who take their time."""
    rows = [json.loads(line) for line in (DEMO / "banking77.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {name: [row["text"] for row in rows if row["label"] == name][:N_EACH] for name in LABELS}
    for number in range(N_EACH * len(LABELS)):
        name = list(LABELS)[number % len(LABELS)]
        text = found[name][number // len(LABELS)]
        if number % 10 == 4:
            text = f"Hello,\n\n{text}\nBest wishes; Zoë"
        if number % 10 == 7:
            text = f'I was told: "ask us". {text}'
        yield text, name


def _line(*cells: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerow(cells)
    return text.getvalue()
