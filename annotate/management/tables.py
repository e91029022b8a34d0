"""Decides how figures look in a terminal: as small tables."""

from collections.abc import Sequence

from annotate.models import Estimate, Project

_WORDS = {
    "llm": "LLM labels",
    "model": "model, this pool",
    "model_new_data": "model, new data",
    "delivered": "delivered labels",
    "precision": "precision",
    "recall": "recall",
    "look": "look at the target",
}


def table(rows: Sequence[Sequence[str]], indent: int = 2) -> str:
    """The rows as text, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        " " * indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def estimate_rows(estimates: Sequence[Estimate]) -> list[list[str]]:
    """The rows of a table of estimates: a head, then one row per figure, or the reason why there is none."""
    head = ["figure", "estimate", "95 % interval", "from", "of"]
    return [head, *(_estimate_row(row) for row in estimates)]


def _estimate_row(row: Estimate) -> list[str]:
    name = _WORDS[row.estimand] + (f" {row.label}" if row.label else "")
    population = f"{row.population:,} items" if row.population is not None else "future items"
    if row.estimand == Estimate.Estimand.RECALL:
        population = "items of this class"
    unresolved = f" ({row.n_unresolved} unresolved)" if row.n_unresolved else ""
    sample = f"{row.n:,} audited{unresolved}"
    if row.value is None or row.low is None or row.high is None:
        return [name, "no figure", row.reason or "", sample, population]
    return [name, f"{row.value:.1%}", f"{row.low:.1%} to {row.high:.1%}", sample, population]


def money(micros: int, project: Project) -> str:
    """An amount with two decimals in the project's currency."""
    return f"{micros / 1e6:,.2f} {project.currency}"
