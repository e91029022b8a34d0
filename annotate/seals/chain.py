"""Decides what is hashed: a row, a batch of rows, a seal. SHA-256 throughout; text is UTF-8, JSON has sorted keys.

Each seal's hash covers the hash of the seal before, so that a kept head proves all that was sealed up to it
(the linked time-stamping of Haber and Stornetta, "How to time-stamp a digital document", J. Cryptology 3, 1991).
"""

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from annotate.models import Project, Seal, SealedRows

FIRST = "0" * 64  # stands for the hash before the first seal
N_BYTES = 32  # of a digest
Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Rows of one leaf in one seal; `digests` and `states` by row, or empty."""

    leaf: str
    keys: Keys
    digests: bytes = b""
    states: Sequence[Sequence[Any]] = ()
    is_gone: bool = False

    @property
    def stored_states(self) -> bytes:
        return zlib.compress(orjson.dumps(list(self.states)), 6) if self.states else b""

    def rows(self, seal: Seal) -> SealedRows:
        return SealedRows(
            seal=seal, leaf=self.leaf, keys=self.keys.tobytes(), digests=self.digests,
            states=self.stored_states, is_gone=self.is_gone,
        )  # fmt: skip


@dataclass
class Sealed:
    """What a chain says of the rows of one leaf: by key the digest and the last state, and which rows went."""

    keys: Keys = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # ascending
    digests: npt.NDArray[np.bytes_] = field(default_factory=lambda: np.zeros(0, dtype=f"V{N_BYTES}"))
    states: dict[int, list[Any]] = field(default_factory=dict)

    def digest(self, key: int) -> bytes:
        return bytes(self.digests[np.searchsorted(self.keys, key)].tobytes())


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


def absorb(known: dict[str, Sealed], batches: Iterator[SealedRows] | Sequence[SealedRows]) -> None:
    """Add what these batches say, in the order of their seals, to what is known of each leaf's rows."""
    fresh: dict[str, list[tuple[Keys, Any]]] = {}
    for batch in batches:
        keys = np.frombuffer(bytes(batch.keys), dtype="<i8")
        sealed = known.setdefault(batch.leaf, Sealed())
        if batch.is_gone:
            _flush(sealed, fresh.pop(batch.leaf, []))
            _forget(sealed, keys)
            continue
        if batch.digests:
            fresh.setdefault(batch.leaf, []).append((keys, np.frombuffer(bytes(batch.digests), dtype=f"V{N_BYTES}")))
        if batch.states:
            values = orjson.loads(zlib.decompress(bytes(batch.states)))
            sealed.states.update(zip(keys.tolist(), values, strict=True))
    for leaf, parts in fresh.items():
        _flush(known[leaf], parts)


def _flush(sealed: Sealed, parts: list[tuple[Keys, Any]]) -> None:
    if not parts:
        return
    keys = np.concatenate([sealed.keys, *(keys for keys, _ in parts)])
    digests = np.concatenate([sealed.digests, *(digests for _, digests in parts)])
    order = np.argsort(keys, kind="stable")
    sealed.keys, sealed.digests = keys[order], digests[order]


def _forget(sealed: Sealed, keys: Keys) -> None:
    stays = ~np.isin(sealed.keys, keys)
    sealed.keys, sealed.digests = sealed.keys[stays], sealed.digests[stays]
    for key in keys.tolist():
        sealed.states.pop(key, None)


def _json(content: Any) -> bytes:
    """JSON with sorted keys; numbers beyond 64 bits, which orjson refuses, through the standard library."""
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
