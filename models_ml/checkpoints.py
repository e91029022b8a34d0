"""Keeps arrays and settings in one safetensors file: same content, same bytes, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load, save

from models_ml.arrays import AnyArray

# One metadata key: the library's header keeps several in no fixed order.
CONFIG_KEY = "config"


def to_bytes(arrays: Mapping[str, AnyArray], config: Mapping[str, Any]) -> bytes:
    """Arrays and JSON settings as safetensors; ValueError for what JSON cannot say (NaN, infinity)."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    tensors = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    return bytes(save(tensors, metadata={CONFIG_KEY: text}))


def load_checkpoint(path: Path, sha256: str | None = None) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """The arrays and settings of a file; ValueError where it does not have the checksum given."""
    if sha256 is not None and file_sha256(path) != sha256:
        raise ValueError(f"{path.name} does not have the checksum it was saved with")
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        return arrays, json.loads(file.metadata()[CONFIG_KEY])


def from_bytes(content: bytes) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """The arrays and settings that `to_bytes` was given."""
    n_header = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n_header])
    return load(content), json.loads(header["__metadata__"][CONFIG_KEY])


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hex, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
