"""Permanent random numbers (prn): an item's place in the samples, and its fold, follow from a secret key and content.

A keyed hash makes both unpredictable for whoever writes the items and repeatable for whoever holds the key
(HMAC: RFC 2104; as permanent random numbers in sampling: Ohlsson 1995, "Coordination of samples using
permanent random numbers").
"""

import hashlib
import hmac

# 53 bits are all that a double holds without rounding, so the number is the same everywhere.
_BITS = 53


def unit_interval(key: bytes, content_hash: str) -> float:
    """The prn, in [0, 1): the first 53 bits of HMAC-SHA256(key, 'u' + content_hash), divided by 2**53.

    `content_hash` is a lower-case hexadecimal string.
    """
    digest = hmac.digest(key, b"u" + content_hash.encode("ascii"), "sha256")
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / float(1 << _BITS)


def fold(key: bytes, content_hash: str, n_folds: int = 5) -> int:
    """Fold 0..n_folds-1, from another HMAC than the prn, so that folds and samples are independent."""
    digest = hmac.digest(key, b"fold" + content_hash.encode("ascii"), "sha256")
    return int.from_bytes(digest[:8], "big") % n_folds


def commitment(key: bytes) -> str:
    """SHA-256 of the key in hexadecimal: shown before the first draw, checked when the key is revealed."""
    return hashlib.sha256(key).hexdigest()
