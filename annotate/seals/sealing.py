"""Decides what a new seal holds: committed rows of its chain that have no seal, and what changed as it may.

A change that nothing explains is left out, so that `verify` goes on finding it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction

from annotate.models import Project, Seal, SealedRows, bulk
from annotate.models.base import database_now
from annotate.models.snapshot import read_snapshot
from annotate.models.write_lock import sqlite_write_lock
from annotate.seals import chain, compare, leaves
from annotate.seals import known as known_rows
from annotate.seals.chain import Batch
from annotate.seals.compare import Difference
from annotate.seals.leaves import Leaf

# Of one seal. Submits wait while it is written to SQLite: about 20 ms, as long as for a chunk of an import.
ROWS_PER_SEAL = 20_000
_TRIES = 5  # of sealers that meet at the same head; each try but the last finds what the others left


@dataclass
class Outcome:
    """What one pass of a sealer did: the seals that it made, and a sentence for each change that it left out."""

    seals: list[Seal] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def n_rows(self) -> int:
        return sum(seal.n_rows for seal in self.seals)


def _always() -> bool:
    return True


def _at_once() -> None:
    """No rest."""


def seal(project: Project | None) -> Seal | None:
    """Seal all that waits in the project's chain (None: the site's); its new head, or None if nothing waits."""
    seals = seal_all(project).seals
    return seals[-1] if seals else None


def seal_recent(project: Project | None, *, rest: Callable[[], object] = _at_once) -> Seal | None:
    """Seal what came since the head, without reading the chain: what `compare.since` overlooks waits for `seal`.

    `rest`: as for `seal_all`.
    """
    seals = _patiently(lambda: _pass(project, is_quick=True, goes_on=_always, rest=rest)).seals
    return seals[-1] if seals else None


def seal_all(
    project: Project | None, goes_on: Callable[[], bool] = _always, *, rest: Callable[[], object] = _at_once
) -> Outcome:
    """Seal all that waits, and say what was left out.

    `goes_on`: asked between two seals whether to continue. `rest`: called every few thousand rows, outside of any
    transaction, so that whoever is in no hurry can leave the processor to others for a while.
    """
    return _patiently(lambda: _pass(project, is_quick=False, goes_on=goes_on, rest=rest))


def _patiently(seal_once: Callable[[], Outcome]) -> Outcome:
    """Of sealers that begin at the same head the constraint on the sequence lets one through; the others look again."""
    for n_left in reversed(range(_TRIES)):
        try:
            return seal_once()
        except IntegrityError:
            if not n_left:
                raise
    raise AssertionError


def _pass(
    project: Project | None, *, is_quick: bool, goes_on: Callable[[], bool], rest: Callable[[], object]
) -> Outcome:
    """Compare in one snapshot, without a lock; then write one seal after the other, each in a short transaction.

    What the events explain is sealed with them in the last seal (annotate/seals/transitions.py), so that a sealer
    that is killed, or overtaken by another, leaves no change behind whose explanation is sealed.
    """
    with read_snapshot():
        head = chain.head_of(project)
        found = list(compare.since(project, head) if is_quick and head else _all(project))
    done = Outcome(refused=[sentence for one in found for sentence in one.refused.values()])
    for batches in _seals(found, rest):
        if not goes_on():
            break
        if batches:
            head = _store(project, head, batches)
            done.seals.append(head)
    return done


def _all(project: Project | None) -> Iterator[Difference]:
    return compare.differences(project, known_rows.load(project))


def _seals(found: Sequence[Difference], rest: Callable[[], object]) -> Iterator[list[Batch]]:
    """The batches of each seal: rows, as many as one may hold; at last the remaining ones, the events and changes."""
    log, *others = found
    batches, n_rows = list[Batch](), 0
    for one in others:
        for start in range(0, len(one.new), ROWS_PER_SEAL):
            part = one.new[start : start + ROWS_PER_SEAL]
            if n_rows + len(part) > ROWS_PER_SEAL:
                yield batches
                batches, n_rows = [], 0
            batches += _of_new_rows(one.leaf, part, rest)
            n_rows += len(part)
    if n_rows + len(log.new) > ROWS_PER_SEAL:
        yield batches
        batches = []
    yield [*batches, *(batch for one in others for batch in _of_changes(one)), *_of_new_rows(log.leaf, log.new, rest)]


def _of_changes(found: Difference) -> Iterator[Batch]:
    if found.moved:
        keys = sorted(found.moved)
        yield Batch(found.leaf.name, chain.as_keys(keys), states=[found.moved[key] for key in keys])
    if found.gone:
        yield Batch(found.leaf.name, chain.as_keys(found.gone), is_gone=True)


def _of_new_rows(leaf: Leaf, keys: Sequence[int], rest: Callable[[], object]) -> Iterator[Batch]:
    """A batch of these rows as they are now; none where all of them are gone."""
    here: list[int] = []
    digests, states = [], []
    n_fixed = len(leaf.fixed)
    for part in bulk.parts(keys):
        rows = leaf.model._default_manager.filter(pk__in=part).order_by("pk")
        for key, *values in rows.values_list("pk", *leaf.fixed, *leaf.state):
            here.append(key)
            digests.append(chain.row_digest(leaf.name, key, values[:n_fixed]))
            states.append([chain.canonical(value) for value in values[n_fixed:]])
        rest()
    if here:
        yield Batch(leaf.name, chain.as_keys(here), b"".join(digests), states if leaf.state else ())


def _store(project: Project | None, head: Seal | None, batches: Sequence[Batch]) -> Seal:
    new = Seal(
        project=project,
        sequence=head.sequence + 1 if head else 1,
        previous=head.hash if head else chain.FIRST,
        n_rows=sum(len(batch.keys) for batch in batches),
        reached=_reached(head, batches),
        is_vouched=_is_vouched(project, head),
        created_at=database_now(),
    )
    rows = [batch.rows(new) for batch in batches]
    new.digest = chain.batches_digest(rows)
    new.hash = chain.seal_hash(new, chain.scope_of(project))
    with sqlite_write_lock(), transaction.atomic():
        new.save(force_insert=True)
        for row in rows:
            row.seal = new
        SealedRows.objects.bulk_create(rows, batch_size=100)
    return new


def _reached(head: Seal | None, batches: Sequence[Batch]) -> dict[str, int]:
    reached = dict(head.reached) if head else {}
    for batch in batches:
        reached[batch.leaf] = max(reached.get(batch.leaf, 0), int(batch.keys[-1]))
    return reached


def _is_vouched(project: Project | None, head: Seal | None) -> bool:
    """Whether the chain is as old as what the seal holds: the program made seals when the project, or the site, began.

    Of an older project, the first pass ends with its events; what comes later came under the chain's eyes.
    """
    if head is not None and (head.is_vouched or project is None or leaves.of(project)[0].name in head.reached):
        return True
    if project is not None:
        return project.is_sealed_from_start
    return not Project.objects.filter(is_sealed_from_start=False).exists()
