"""Decides what a chain says of each row: its digest, its last state, and which seals say so. Arrays, for millions."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from annotate.models import Project, SealedRows, bulk
from annotate.seals import chain
from annotate.seals.chain import Digests, Keys

_N_STATE = 16  # bytes of a state's digest: enough to see that it moved; the state itself is read then
Sequences = npt.NDArray[np.int64]


def _none(n_bytes: int) -> Digests:
    return np.zeros((0, n_bytes), dtype=np.uint8)


@dataclass
class Sealed:
    """What a chain says of the rows of one leaf. Arrays by row; `keys` ascending, `states` empty where none change."""

    keys: Keys = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    digests: Digests = field(default_factory=lambda: _none(32))
    sealed_in: Sequences = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # the first seal of each row
    states: Digests = field(default_factory=lambda: _none(_N_STATE))
    stated_in: Sequences = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # the seal of each row's state

    def places(self, keys: Keys) -> npt.NDArray[np.int64]:
        """(n,) where each of these keys stands; -1 where no seal holds it."""
        found = np.searchsorted(self.keys, keys)
        is_there = found < len(self.keys)
        is_there[is_there] = self.keys[found[is_there]] == keys[is_there]
        return np.where(is_there, found, -1)


Known = dict[str, Sealed]


@dataclass
class _Parts:
    """Batches of one leaf, in the order of their seals."""

    new: list[tuple[Keys, Digests, Sequences, Digests]] = field(default_factory=list)
    moved: list[tuple[Keys, Digests, Sequences]] = field(default_factory=list)
    gone: list[Keys] = field(default_factory=list)

    def add(self, sequence: int, batch: Sequence[Any]) -> None:
        keys = chain.read_keys(batch[0])
        if batch[3]:
            self.gone.append(keys)
            return
        in_seal = np.full(len(keys), sequence, dtype=np.int64)
        states = state_digests(chain.read_states(batch[2]))
        if batch[1]:
            self.new.append((keys, chain.read_digests(batch[1]), in_seal, states))
        else:
            self.moved.append((keys, states, in_seal))

    def sealed(self) -> Sealed:
        if not self.new:
            return Sealed()
        keys, digests, sealed_in, states = (np.concatenate(column) for column in zip(*self.new, strict=True))
        order = np.argsort(keys, kind="stable")
        sealed = Sealed(keys[order], digests[order], sealed_in[order], states[order] if len(states) else states)
        sealed.stated_in = sealed.sealed_in.copy()
        self._move(sealed)
        self._forget(sealed)
        return sealed

    def _move(self, sealed: Sealed) -> None:
        if not self.moved:
            return
        keys, states, in_seal = (np.concatenate(column) for column in zip(*self.moved, strict=True))
        # Of several moves of one row the last counts: the first in the reverse order.
        keys, first = np.unique(keys[::-1], return_index=True)
        states, in_seal = states[::-1][first], in_seal[::-1][first]
        places = sealed.places(keys)
        here = places >= 0
        sealed.states[places[here]] = states[here]
        sealed.stated_in[places[here]] = in_seal[here]

    def _forget(self, sealed: Sealed) -> None:
        if not self.gone:
            return
        stays = ~np.isin(sealed.keys, np.concatenate(self.gone))  # a deleted row's key is never given again
        sealed.keys, sealed.digests, sealed.sealed_in = (
            sealed.keys[stays],
            sealed.digests[stays],
            sealed.sealed_in[stays],
        )
        sealed.stated_in = sealed.stated_in[stays]
        sealed.states = sealed.states[stays] if len(sealed.states) else sealed.states


def load(project: Project | None, names: Collection[str] | None = None) -> Known:
    """What the chain says of the rows of these leaves, of all for None. Reads all of their batches."""
    batches = SealedRows.objects.filter(seal__project=project)
    if names is not None:
        batches = batches.filter(leaf__in=names)
    columns = batches.order_by("seal__sequence", "pk").values_list(
        "leaf", "seal__sequence", "keys", "digests", "states", "is_gone"
    )
    parts: dict[str, _Parts] = defaultdict(_Parts)
    for leaf, sequence, *batch in columns.iterator(chunk_size=bulk.ROWS_PER_PAGE):
        parts[leaf].add(sequence, batch)
    return {leaf: of_leaf.sealed() for leaf, of_leaf in parts.items()}


def state_digests(states: Iterable[Sequence[Any]]) -> Digests:
    """(n, 16) a short digest of each state."""
    content = (orjson.dumps(state, option=orjson.OPT_SORT_KEYS) for state in states)
    digests = b"".join(hashlib.sha256(text).digest()[:_N_STATE] for text in content)
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, _N_STATE)


def states(project: Project | None, leaf: str, sealed: Sealed, keys: Sequence[int]) -> dict[int, list[Any]]:
    """The last sealed state of each of these rows, by key."""
    found: dict[int, list[Any]] = {}
    wanted = np.array(sorted(keys), dtype=np.int64)
    in_seals = set(sealed.stated_in[sealed.places(wanted)].tolist()) if len(sealed.states) else set[int]()
    for part in bulk.parts(sorted(in_seals)):
        batches = SealedRows.objects.filter(seal__project=project, leaf=leaf, seal__sequence__in=part, is_gone=False)
        ordered = batches.order_by("seal__sequence", "pk")
        for batch_keys, stored in ordered.values_list("keys", "states").iterator(chunk_size=1):
            values = chain.read_states(stored)
            here = np.flatnonzero(np.isin(chain.read_keys(batch_keys), wanted))
            found |= {int(chain.read_keys(batch_keys)[place]): values[place] for place in here}
    return found
