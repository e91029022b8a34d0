"""Decides whether a chain of seals is whole, and whether the rows are still what it says."""

from collections.abc import Iterator

import numpy as np

from annotate.models import Project, SealedRows, bulk
from annotate.seals import chain, compare
from annotate.seals.compare import Known
from annotate.seals.leaves import Leaf


def chain_problems(project: Project | None, kept_head: str = "") -> Iterator[str]:
    """One sentence for each seal that does not follow from the one before, or does not fit its batches.

    kept_head: the hash of a seal that somebody kept elsewhere; a chain without it was written anew.
    """
    previous, sequence, is_met = chain.FIRST, 0, not kept_head
    for seal in chain.seals_of(project):
        sequence += 1
        if seal.sequence != sequence:
            yield f"seal {sequence} of {_name(project)} is gone"
            return
        if seal.previous != previous or seal.hash != chain.seal_hash(seal, chain.scope_of(project)):
            yield f"seal {sequence} of {_name(project)} does not follow from the one before"
            return
        if seal.digest != chain.batches_digest(list(seal.batches.order_by("pk"))):
            yield f"seal {sequence} of {_name(project)} does not fit what it seals"
            return
        previous = seal.hash
        is_met = is_met or seal.hash == kept_head
    if not is_met:
        yield f"the chain of {_name(project)} has no seal {kept_head}: it was written anew since that head was kept"


def row_problems(project: Project | None) -> Iterator[str]:
    """One sentence for each sealed row that was changed or deleted otherwise than the program does."""
    known = compare.load(project)
    for found in compare.differences(project, known):
        for key, sentence in found.refused.items():
            yield f"{sentence} since {_sealed_by(project, found.leaf, key)}"
        yield from _changed(project, found.leaf, known)


def n_unsealed(project: Project | None) -> int:
    """How many rows and changes wait for a seal."""
    found = compare.differences(project, compare.load(project))
    return sum(len(one.new) + len(one.moved) + len(one.gone) for one in found)


def _changed(project: Project | None, leaf: Leaf, known: Known) -> Iterator[str]:
    sealed = known.get(leaf.name)
    if sealed is None:
        return
    rows = leaf.rows(project).order_by("pk").values_list("pk", *leaf.fixed)
    place, keys = 0, sealed.keys
    for key, *values in rows.iterator(chunk_size=bulk.ROWS_PER_PAGE):
        while place < len(keys) and keys[place] < key:
            place += 1
        if place == len(keys) or keys[place] != key:
            continue  # new since, or gone: `differences` tells
        if chain.row_digest(leaf.name, key, values) != sealed.digests[place].tobytes():
            yield f"{leaf.named(key)} was changed since {_sealed_by(project, leaf, key)}"


def _sealed_by(project: Project | None, leaf: Leaf, key: int) -> str:
    """The first seal that holds the row, for people."""
    batches = SealedRows.objects.filter(seal__project=project, leaf=leaf.name).exclude(digests=b"")
    for batch in batches.select_related("seal").order_by("seal__sequence"):
        if key in np.frombuffer(bytes(batch.keys), dtype="<i8"):
            return f"{batch.seal} of {batch.seal.created_at:%Y-%m-%d %H:%M} UTC"
    return "it was sealed"


def _name(project: Project | None) -> str:
    return "the site" if project is None else project.slug

