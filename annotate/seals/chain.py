"""Decides what is hashed: a row, a batch of rows, a seal. SHA-256 throughout; text is UTF-8, JSON has sorted keys.

Each seal's hash covers the hash of the seal before, so that a kept head proves all that was sealed up to it
(the linked time-stamping of Haber and Stornetta, "How to time-stamp a digital document", J. Cryptology 3, 1991).
"""

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from annotate.models import Project, Seal, SealedRows

FIRST = "0" * 64  # stands for the hash before the first seal
Keys = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint8]  # (n, bytes of each)
_N_BYTES = 32  # of a row's digest


@dataclass(frozen=True)
class Batch:
    """Rows of one leaf in one seal."""

    leaf: str
    keys: Keys
    digests: bytes = b""  # by row; empty: sealed before
    states: Sequence[Sequence[Any]] = ()  # by row; empty: nothing of these may change
    is_gone: bool = False

    @property
    def stored_states(self) -> bytes:
        return zlib.compress(orjson.dumps(list(self.states)), 6) if self.states else b""

    def rows(self, seal: Seal) -> SealedRows:
        return SealedRows(
            seal=seal, leaf=self.leaf, keys=self.keys.tobytes(), digests=self.digests,
            states=self.stored_states, is_gone=self.is_gone,
        )  # fmt: skip


def as_keys(keys: Sequence[int]) -> Keys:
    """(n,) primary keys, ascending."""
    return np.array(sorted(keys), dtype="<i8")


def canonical(value: Any) -> Any:
    """A field's value as JSON can hold it: times in UTC, bytes as hexadecimal digits."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value


def row_digest(leaf: str, key: int, values: Sequence[Any]) -> bytes:
    """(32,) the digest of what never changes of a row."""
    content = [leaf, key, *map(canonical, values)]
    return hashlib.sha256(_json(content)).digest()


def read_keys(stored: bytes | memoryview) -> Keys:
    """(n,) the keys of a stored batch."""
    return np.frombuffer(bytes(stored), dtype="<i8")


def read_digests(stored: bytes | memoryview) -> Digests:
    """(n, 32) the digests of a stored batch; none where its rows were sealed before."""
    return np.frombuffer(bytes(stored), dtype=np.uint8).reshape(-1, _N_BYTES)


def read_states(stored: bytes | memoryview) -> list[list[Any]]:
    """The states of a stored batch, by row; none where nothing of its rows may change."""
    states: list[list[Any]] = orjson.loads(zlib.decompress(bytes(stored))) if stored else []
    return states


def batches_digest(batches: Sequence[SealedRows]) -> str:
    """The digest of a seal's batches, in the order in which they are stored."""
    whole = hashlib.sha256()
    for batch in batches:
        parts = [hashlib.sha256(bytes(part)).hexdigest() for part in (batch.keys, batch.digests, batch.states)]
        whole.update(_json([batch.leaf, *parts, batch.is_gone]))
    return whole.hexdigest()


def seal_hash(seal: Seal, scope: str) -> str:
    """The hash of a seal. `scope`: the project's public id, or "site"."""
    facts = [scope, seal.sequence, seal.previous, seal.digest, seal.n_rows, seal.is_vouched, canonical(seal.created_at)]
    return hashlib.sha256(_json(facts)).hexdigest()


def scope_of(project: Project | None) -> str:
    return "site" if project is None else project.public_id


def seals_of(project: Project | None) -> Any:
    """The seals of a chain in their order."""
    return Seal.objects.filter(project=project).order_by("sequence")


def head_of(project: Project | None) -> Seal | None:
    """The last seal of a chain; None where nothing is sealed yet."""
    found: Seal | None = seals_of(project).last()
    return found


def _json(content: Any) -> bytes:
    """JSON with sorted keys; numbers beyond 64 bits, which orjson refuses, through the standard library."""
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
