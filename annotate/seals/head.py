"""Decides what pages and programs are told of a chain: its head, and how many rows came since."""

from dataclasses import dataclass

from annotate.models import Project, Seal
from annotate.seals import chain, leaves


@dataclass(frozen=True)
class Standing:
    """How far a project is sealed."""

    head: Seal | None
    n_since: int  # rows newer than the head; without a head all rows
    is_first_vouched: bool  # False: nobody knows what happened to the rows of the first seal before it


def standing(project: Project) -> Standing:
    """How far the project is sealed. Two queries: a page may ask it."""
    head = chain.head_of(project)
    return Standing(head, n_since(project, head), project.is_sealed_from_start)


def n_since(project: Project, head: Seal | None) -> int:
    """How many rows have higher keys than the head's: what it overlooks, such as a revealed suggestion, is no row."""
    reached = head.reached if head else {}
    parts = [
        leaf.beyond(project, reached.get(leaf.name, 0)).order_by().values_list("pk") for leaf in leaves.of(project)
    ]
    return parts[0].union(*parts[1:], all=True).count()
