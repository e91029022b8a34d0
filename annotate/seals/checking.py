"""Decides whether a chain of seals is whole, and whether the rows are still what it says."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from annotate.models import DeliveredVersion, Project, Seal, SealedRows, bulk
from annotate.seals import chain, compare
from annotate.seals import known as known_rows
from annotate.seals.known import Known, Sealed
from annotate.seals.leaves import Leaf

_SEALS_PER_PAGE = 200  # of at most 20,000 rows each, most of far fewer


def chain_problems(project: Project | None, kept_head: str = "") -> Iterator[str]:
    """One sentence for the first seal that does not follow from the one before, or does not fit its batches.

    kept_head: the hash of a seal that somebody kept elsewhere; a chain without it was written anew. The heads that
    delivered versions carry are looked for, too.
    """
    previous, name, hashes = chain.FIRST, _name(project), set[str]()
    for sequence, (seal, batches) in enumerate(_pages(project), start=1):
        if seal.sequence != sequence:
            yield f"seal {sequence} of {name} is gone"
            return
        if seal.previous != previous or seal.hash != chain.seal_hash(seal, chain.scope_of(project)):
            yield f"seal {sequence} of {name} does not follow from the one before"
            return
        if seal.digest != chain.batches_digest(batches):
            yield f"seal {sequence} of {name} does not fit what it seals"
            return
        previous = seal.hash
        hashes.add(seal.hash)
    if kept_head and kept_head not in hashes:
        yield f"the chain of {name} has no seal {kept_head}: it was written anew since that head was kept"
    for version in DeliveredVersion.objects.filter(project=project).exclude(sealed_head=""):
        if version.sealed_head not in hashes:
            yield f"the chain of {name} has no seal {version.sealed_head}, which was the head when {version} was frozen"


def row_problems(project: Project | None, waiting: Counter[str] | None = None) -> Iterator[str]:
    """One sentence for each sealed row that was changed or deleted otherwise than the program does.

    waiting: counts by leaf, as the iteration goes on, the rows and changes that wait for a seal.
    """
    try:
        known = known_rows.load(project)
        for found in compare.differences(project, known):
            sealed = known.get(found.leaf.name, Sealed())
            if waiting is not None:
                waiting[found.leaf.name] += len(found)
            for key, sentence in found.refused.items():
                yield f"{sentence} since {_sealed_by(project, sealed, key)}"
            yield from _changed(project, found.leaf, known)
    except (zlib.error, ValueError, KeyError) as error:  # batches that no longer say what they said
        yield f"the seals of {_name(project)} cannot be read ({error!r})"


def n_unsealed(project: Project | None) -> int:
    """How many rows and changes wait for a seal. Reads the whole chain; for pages there is `head.n_since`."""
    return sum(map(len, compare.differences(project, known_rows.load(project))))


def _pages(project: Project | None) -> Iterator[tuple[Seal, Sequence[SealedRows]]]:
    """Each seal of the chain with its batches, in order; many at once, so that a long chain takes few queries."""
    after = 0
    while page := list(chain.seals_of(project).filter(sequence__gt=after)[:_SEALS_PER_PAGE]):
        batches = defaultdict(list)
        for batch in SealedRows.objects.filter(seal__in=page).order_by("pk").iterator(chunk_size=bulk.ROWS_PER_PAGE):
            batches[batch.seal_id].append(batch)
        for seal in page:
            yield seal, batches[seal.pk]
        after = page[-1].sequence


def _changed(project: Project | None, leaf: Leaf, known: Known) -> Iterator[str]:
    sealed = known.get(leaf.name)
    if sealed is None:
        return
    rows = leaf.rows(project).values_list("pk", *leaf.fixed)
    for key, *values in rows.iterator(chunk_size=bulk.ROWS_PER_PAGE):
        place = np.searchsorted(sealed.keys, key)
        if place == len(sealed.keys) or sealed.keys[place] != key:
            continue  # new since: `differences` tells
        if chain.row_digest(leaf.name, key, values) != sealed.digests[place].tobytes():
            yield f"{leaf.named(key)} was changed since {_sealed_by(project, sealed, key)}"


def _sealed_by(project: Project | None, sealed: Sealed, key: int) -> str:
    """The first seal that holds the row, for people."""
    sequence = int(sealed.sealed_in[np.searchsorted(sealed.keys, key)])
    seal = chain.seals_of(project).filter(sequence=sequence).first()
    return f"{seal} of {seal.created_at:%Y-%m-%d %H:%M} UTC" if seal else "it was sealed"


def _name(project: Project | None) -> str:
    return "the site" if project is None else project.slug
