"""Secrets that have to be read again are kept encrypted: Fernet, under keys of the environment's or a file of our own.

The first of FIELD_ENCRYPTION_KEYS encrypts and all of them decrypt, so that a key can be replaced: put the new one in
front, `manage.py rotate_keys`, take the old one away. Without the setting one is made once, where only its owner can
read it. Knows no database.
"""

import os
import secrets
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from annotate.errors import FileDamaged, InvalidInput


def encrypt(text: str) -> bytes:
    """What `decrypt` reads again, with the keys of now."""
    return _fernet().encrypt(text.encode())


def decrypt(token: bytes | memoryview) -> str:
    """FileDamaged where none of the keys of now has encrypted it."""
    try:
        return _fernet().decrypt(bytes(token)).decode()
    except InvalidToken:
        raise FileDamaged(
            "A stored key cannot be decrypted: FIELD_ENCRYPTION_KEYS (or VAR_DIR/encryption_key) has changed. Put the "
            "old key back, or enter the connection's key again."
        ) from None


def rotate(token: bytes | memoryview) -> bytes:
    """The same secret under the first key."""
    return encrypt(decrypt(token))


def new_key() -> str:
    """A key for FIELD_ENCRYPTION_KEYS: 32 random bytes in URL-safe base64."""
    return secrets.token_urlsafe(32) + "="


def is_key(text: str) -> bool:
    try:
        Fernet(text)
    except (ValueError, TypeError):
        return False
    return True


def _fernet() -> MultiFernet:
    keys = settings.FIELD_ENCRYPTION_KEYS or [_kept(Path(settings.VAR_DIR) / "encryption_key")]
    if not all(is_key(key) for key in keys):
        raise InvalidInput("FIELD_ENCRYPTION_KEYS holds something that is no key; see `manage.py check`.")
    return MultiFernet([Fernet(key) for key in keys])


def _kept(path: Path) -> str:
    """Made at the first use. Written aside and linked: two at once agree on one key (mkstemp gives 0600)."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(new_key())
            file.flush()
            os.fsync(file.fileno())  # a connection's key must not outlive the key that it was encrypted with
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    return path.read_text()
