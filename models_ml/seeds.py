"""Independent random streams from one recorded seed."""

import hashlib
import json

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the PCG64 stream that belongs to `seed` and `names`.

    The key is the SHA-256 of their JSON, so ("1",) and (1,) differ, as do ("ab",) and ("a", "b"), and parts
    that draw from streams of their own never shift each other's numbers. Same arguments, same stream.
    """
    key = json.dumps([int(seed), *names], separators=(",", ":"))
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
