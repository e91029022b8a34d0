"""Checks of the chains of seals, and of the rows against them (I-5, S-6)."""

from collections import Counter
from collections.abc import Iterator

from django.db.models import Sum

from annotate.models import Project, Seal
from annotate.seals import chain, checking
from annotate.verification.outcome import Finding, NotChecked

_NOTHING = NotChecked("nothing is sealed yet (run `manage.py seal`)")


def chain_is_whole(project: Project) -> Iterator[Finding]:
    """I-5: each seal of the project follows from the one before, and fits the batches that it sealed."""
    return _chain(project)


def site_chain_is_whole(project: Project) -> Iterator[Finding]:
    """I-5: the same of the site's chain, which holds accounts, connections and the events of no project."""
    return _chain(None)


def rows_are_as_sealed(project: Project) -> Iterator[Finding]:
    """S-6: no row that the project's chain holds was changed or deleted otherwise than the program does."""
    return _rows(project)


def site_rows_are_as_sealed(project: Project) -> Iterator[Finding]:
    """S-6: the same of the rows of the site's chain."""
    return _rows(None)


def kept_head(project: Project, head: str) -> Seal | None:
    """The seal with this hash in the project's chain or the site's; None: the chain was written anew since, or cut.

    With the chain whole, all that it sealed up to there is as it was when the head was kept.
    """
    found = Seal.objects.filter(hash=head)
    return found.filter(project=project).first() or found.filter(project__isnull=True).first()


def _chain(project: Project | None) -> Iterator[Finding]:
    if chain.head_of(project) is None:
        yield _NOTHING
        return
    yield from checking.chain_problems(project)


def _rows(project: Project | None) -> Iterator[Finding]:
    if chain.head_of(project) is None:
        yield _NOTHING
        return
    waiting = Counter[str]()
    yield from checking.row_problems(project, waiting)
    if n_unsealed := waiting.total():
        yield NotChecked(f"not yet sealed: {n_unsealed:,} (run `manage.py seal`)", is_part=True)
    older = chain.seals_of(project).filter(is_vouched=False).aggregate(n=Sum("n_rows"))["n"]
    if older:
        yield NotChecked(
            f"not vouched for: what happened to {older:,} rows before they were first sealed", is_part=True
        )
