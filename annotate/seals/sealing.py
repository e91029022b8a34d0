"""Decides what a new seal holds: all committed rows of its chain that have no seal, and what changed as it may.

A change that nothing explains is left out, so that `verify` goes on finding it.
"""

from collections.abc import Iterator, Sequence

from django.db import IntegrityError, transaction

from annotate.models import Project, Seal, SealedRows, bulk
from annotate.models.base import database_now
from annotate.models.snapshot import read_snapshot
from annotate.seals import chain, compare
from annotate.seals.chain import Batch
from annotate.seals.compare import Difference
from annotate.seals.leaves import Leaf

_ROWS_PER_BATCH = 50_000  # a few MB


def seal(project: Project | None) -> Seal | None:
    """Seal what waits in the project's chain (None: the site's); None if nothing waits, or another sealer was quicker.

    The rows are read in one snapshot, without a lock; only the seal itself is written in a transaction. Of two sealers
    that begin at the same head the constraint on the sequence lets one through.
    """
    with read_snapshot():
        head = chain.head_of(project)
        found = list(compare.differences(project, compare.load(project)))
        batches = [batch for difference in found for batch in _batches(difference)]
    if not batches:
        return None
    try:
        return _store(project, head, batches)
    except IntegrityError:
        return None


def _batches(found: Difference) -> Iterator[Batch]:
    leaf = found.leaf
    for part in _parts(found.new):
        yield _of_new_rows(leaf, part)
    if found.moved:
        keys = sorted(found.moved)
        yield Batch(leaf.name, chain.as_keys(keys), states=[found.moved[key] for key in keys])
    if found.gone:
        yield Batch(leaf.name, chain.as_keys(found.gone), is_gone=True)


def _of_new_rows(leaf: Leaf, keys: Sequence[int]) -> Batch:
    digests, states = [], []
    for part in bulk.parts(keys):
        rows = leaf.model._default_manager.filter(pk__in=part).order_by("pk")
        for key, *values in rows.values_list("pk", *leaf.fixed, *leaf.state):
            digests.append(chain.row_digest(leaf.name, key, values[: len(leaf.fixed)]))
            states.append([chain.canonical(value) for value in values[len(leaf.fixed) :]])
    return Batch(leaf.name, chain.as_keys(keys), b"".join(digests), states if leaf.state else ())


def _parts(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), _ROWS_PER_BATCH):
        yield keys[start : start + _ROWS_PER_BATCH]


@transaction.atomic
def _store(project: Project | None, head: Seal | None, batches: Sequence[Batch]) -> Seal:
    new = Seal(
        project=project,
        sequence=head.sequence + 1 if head else 1,
        previous=head.hash if head else chain.FIRST,
        n_rows=sum(len(batch.keys) for batch in batches),
        is_vouched=head is not None or _is_young(project),
        created_at=database_now(),
    )
    rows = [batch.rows(new) for batch in batches]
    new.digest = chain.batches_digest(rows)
    new.hash = chain.seal_hash(new, chain.scope_of(project))
    new.save(force_insert=True)
    for row in rows:
        row.seal = new
    SealedRows.objects.bulk_create(rows, batch_size=100)
    return new


def _is_young(project: Project | None) -> bool:
    """Whether the chain is as old as what it holds: the program made seals when the project, or the site, began."""
    if project is not None:
        return project.is_sealed_from_start
    return not Project.objects.filter(is_sealed_from_start=False).exists()
