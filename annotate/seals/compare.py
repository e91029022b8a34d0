"""Decides how the rows of a chain differ from what it says: new rows, states that moved, rows that went."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annotate.models import Event, Project, Seal, bulk
from annotate.seals import chain, leaves
from annotate.seals import known as known_rows
from annotate.seals.chain import Keys
from annotate.seals.known import Known, Sealed
from annotate.seals.leaves import Leaf
from annotate.seals.transitions import Change, Happened


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

    def __len__(self) -> int:
        return len(self.new) + len(self.moved) + len(self.gone)


@dataclass(frozen=True)
class Chain:
    """A chain whose rows are compared; `events`: those that no seal holds yet, which explain what changed since."""

    project: Project | None
    events: Sequence[Happened] = ()


def differences(project: Project | None, known: Known) -> Iterator[Difference]:
    """How each leaf differs from what is known of all. Call it inside one read snapshot, and after `load` in it."""
    log = leaves.of(project)[0]
    # Where nothing is sealed, nothing changed since. A chain may hold rows, and no event yet.
    new = _new_keys(log, project, known.get(log.name, Sealed())) if known else []
    of = Chain(project, _happened(new))
    for leaf in leaves.of(project):
        yield _difference(leaf, of, known.get(leaf.name, Sealed()))


def since(project: Project | None, head: Seal) -> Iterator[Difference]:
    """What came since the head, in moments: rows beyond the highest sealed key, and what the events among them explain.

    It overlooks a row with a lower key that was committed later or became sealable later, and a change that needs no
    event; `differences` sees them. Call it inside one read snapshot.
    """
    log, *others = leaves.of(project)
    new = _beyond(log, project, head)
    of = Chain(project, _happened(new))
    kinds = {event.kind for event in of.events}
    concerned = {leaf.name for leaf in others if leaf.kinds & kinds}
    known = known_rows.load(project, concerned) if concerned else {}
    yield Difference(log, new)
    for leaf in others:
        if leaf.name in concerned:
            yield _difference(leaf, of, known.get(leaf.name, Sealed()))
        else:
            yield Difference(leaf, _beyond(leaf, project, head))


def _beyond(leaf: Leaf, project: Project | None, head: Seal) -> list[int]:
    return sorted(leaf.rows(project).filter(pk__gt=head.reached.get(leaf.name, 0)).values_list("pk", flat=True))


def _new_keys(leaf: Leaf, project: Project | None, sealed: Sealed) -> list[int]:
    here = np.fromiter(leaf.rows(project).values_list("pk", flat=True).iterator(), dtype=np.int64)
    return [int(key) for key in np.setdiff1d(here, sealed.keys)]


def _difference(leaf: Leaf, of: Chain, sealed: Sealed) -> Difference:
    found = Difference(leaf)
    here, states = _rows(leaf, of.project)
    places = sealed.places(here)
    found.new = here[places < 0].tolist()
    is_sealed = places >= 0
    if leaf.state and is_sealed.any():
        now, before = states[is_sealed], sealed.states[places[is_sealed]]
        _judge_moved(found, of, sealed, here[is_sealed][(now != before).any(axis=1)].tolist())
    _judge_gone(found, of, sealed, np.setdiff1d(sealed.keys, here, assume_unique=True).tolist())
    return found


def _rows(leaf: Leaf, project: Project | None) -> tuple[Keys, Any]:
    """(n,) the keys of the leaf's rows as they are, ascending, and (n, 16) a digest of each one's state."""
    rows = leaf.rows(project)
    if not leaf.state:
        keys = np.fromiter(rows.values_list("pk", flat=True).iterator(), dtype=np.int64)
        return np.sort(keys), None
    found: list[int] = []

    def each_state() -> Iterator[list[Any]]:
        for key, *state in rows.values_list("pk", *leaf.state).iterator(chunk_size=bulk.ROWS_PER_ARRAY_READ):
            found.append(key)
            yield [chain.canonical(value) for value in state]

    states = known_rows.state_digests(each_state())
    keys = np.array(found, dtype=np.int64)
    order = np.argsort(keys)
    return keys[order], states[order]


def _judge_moved(found: Difference, of: Chain, sealed: Sealed, keys: Sequence[int]) -> None:
    leaf = found.leaf
    before = known_rows.states(of.project, leaf.name, sealed, keys)
    for part in bulk.parts(keys):
        rows = leaf.model._default_manager.filter(pk__in=part).order_by("pk")
        for key, *values in rows.values_list("pk", *leaf.state, *leaf.names):
            after = [chain.canonical(value) for value in values[: len(leaf.state)]]
            names = dict(zip(leaf.names, values[len(leaf.state) :], strict=True))
            change = Change(_named(leaf, before.get(key)), _named(leaf, after), names, of.events)
            if leaf.may_become(change):
                found.moved[key] = after
            else:
                found.refused[key] = _sentence(leaf, change, key)


def _judge_gone(found: Difference, of: Chain, sealed: Sealed, keys: Sequence[int]) -> None:
    leaf = found.leaf
    before = known_rows.states(of.project, leaf.name, sealed, keys) if keys else {}
    for key in keys:
        change = Change(_named(leaf, before.get(key)), None, events=of.events)
        if leaf.may_go(change):
            found.gone.append(key)
        else:
            found.refused[key] = f"{leaf.name} (row {key}) is gone"


def _sentence(leaf: Leaf, change: Change, key: int) -> str:
    turns = (f"{name} from {change.before[name]!r} to {value!r}" for name, value in change.differing().items())
    return f"{leaf.named(key)} changed {', '.join(turns)}, and nothing says who did it"


def _named(leaf: Leaf, state: Sequence[Any] | None) -> dict[str, Any]:
    """The state by field; None, of a chain that was damaged: nothing is known."""
    return dict(zip(leaf.state, state or [None] * len(leaf.state), strict=True))


def _happened(keys: Collection[int]) -> list[Happened]:
    """The events with these keys."""
    found: list[Happened] = []
    for part in bulk.parts(list(keys)):
        rows = Event.objects.filter(pk__in=part).order_by("pk").values_list("kind", "data", "actor__public_id")
        found += [Happened(kind, data, actor or "") for kind, data, actor in rows]
    return found
