"""Decides how the rows of a chain differ from what it says: new rows, states that moved, rows that went."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annotate.models import Event, Project, SealedRows, bulk
from annotate.seals import chain, leaves
from annotate.seals.chain import Sealed
from annotate.seals.leaves import Leaf
from annotate.seals.transitions import Change, Happened

Known = dict[str, Sealed]


@dataclass
class Difference:
    """Of one leaf: keys without a seal, states that moved and keys that went as the program allows, and `refused`.

    `refused` holds a sentence by key for each change that no rule and no event explains.
    """

    leaf: Leaf
    new: list[int] = field(default_factory=list)
    moved: dict[int, list[Any]] = field(default_factory=dict)
    gone: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


def load(project: Project | None) -> Known:
    """What the chain says of every row. Reads all of its batches."""
    known: Known = {}
    batches = SealedRows.objects.filter(seal__project=project).order_by("seal__sequence", "pk")
    chain.absorb(known, batches.iterator(chunk_size=bulk.ROWS_PER_PAGE))
    return known


def differences(project: Project | None, known: Known) -> Iterator[Difference]:
    """How each leaf differs from what is known. Call it inside one read snapshot, and after `load` in the same."""
    events = _unsealed_events(project, known)
    for leaf in leaves.of(project):
        yield _difference(leaf, project, known.get(leaf.name, Sealed()), events)


def _difference(leaf: Leaf, project: Project | None, sealed: Sealed, events: Sequence[Happened]) -> Difference:
    found = Difference(leaf)
    rows = leaf.rows(project).order_by("pk").values_list("pk", *leaf.state)
    keys, moved = [], {}
    for key, *state in rows.iterator(chunk_size=bulk.ROWS_PER_ARRAY_READ):
        keys.append(key)
        if leaf.state and key in sealed.states:
            now = [chain.canonical(value) for value in state]
            if now != sealed.states[key]:
                moved[key] = now
    here = np.array(keys, dtype=np.int64)
    found.new = np.setdiff1d(here, sealed.keys, assume_unique=True).tolist()
    for key in np.setdiff1d(sealed.keys, here, assume_unique=True).tolist():
        _judge(found, Change(_state(leaf, sealed, key), None, events=events), key)
    for key, state in moved.items():
        after = dict(zip(leaf.state, state, strict=True))
        _judge(found, Change(_state(leaf, sealed, key), after, _names(leaf, key), events), key)
    return found


def _judge(found: Difference, change: Change, key: int) -> None:
    leaf = found.leaf
    if change.after is None:
        if leaf.may_go(change):
            found.gone.append(key)
        else:
            found.refused[key] = f"{leaf.name} (row {key}) is gone"
    elif leaf.may_become(change):
        found.moved[key] = list(change.after.values())
    else:
        turns = (f"{name} from {change.before[name]!r} to {value!r}" for name, value in change.differing().items())
        found.refused[key] = f"{leaf.named(key)} changed {', '.join(turns)}, and nothing says who did it"


def _state(leaf: Leaf, sealed: Sealed, key: int) -> dict[str, Any]:
    return dict(zip(leaf.state, sealed.states.get(key, [None] * len(leaf.state)), strict=True))


def _names(leaf: Leaf, key: int) -> dict[str, str]:
    values = leaf.model._default_manager.filter(pk=key).values_list(*leaf.names).first() if leaf.names else ()
    return dict(zip(leaf.names, values or [""] * len(leaf.names), strict=True))


def _unsealed_events(project: Project | None, known: Known) -> list[Happened]:
    """The events that no seal holds yet; none where nothing is sealed, as then nothing changed since."""
    leaf = leaves.of(project)[0]
    sealed = known.get(leaf.name)
    if sealed is None:
        return []
    here = np.fromiter(leaf.rows(project).values_list("pk", flat=True), dtype=np.int64)
    found: list[Happened] = []
    for part in bulk.parts(np.setdiff1d(here, sealed.keys).tolist()):
        rows = Event.objects.filter(pk__in=part).order_by("pk").values_list("kind", "data", "actor__public_id")
        found += [Happened(kind, data, actor or "") for kind, data, actor in rows]
    return found
