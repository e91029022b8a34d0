"""Decides how secrets that must be read again (keys of LLM servers) are encrypted: by Fernet, with replaceable keys.

The first of FIELD_ENCRYPTION_KEYS encrypts and all of them decrypt. To replace a key, put the new one in front, run
`manage.py rotate_keys`, and take the old one away. Without the setting a key is made once and kept in
VAR_DIR/encryption_key, which only its owner can read. Nothing here uses the database.
"""

import os
import secrets
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.translation import gettext as _

from annotate.errors import FileDamaged, InvalidInput


def encrypt(text: str) -> bytes:
    """The text encrypted with the first key; `decrypt` gives the text back."""
    return _fernet().encrypt(text.encode())


def decrypt(token: bytes | memoryview) -> str:
    """The text that `encrypt` was given; FileDamaged if it was encrypted with none of the present keys."""
    try:
        return _fernet().decrypt(bytes(token)).decode()
    except InvalidToken:
        raise FileDamaged(
            _(
                "A stored key cannot be decrypted: FIELD_ENCRYPTION_KEYS (or VAR_DIR/encryption_key) has "
                "changed. Put the old key back, or enter the connection's key again."
            )
        ) from None


def rotate(token: bytes | memoryview) -> bytes:
    """The same text, encrypted anew with the first key."""
    return encrypt(decrypt(token))


def new_key() -> str:
    """A key for FIELD_ENCRYPTION_KEYS: 32 random bytes in URL-safe base64."""
    return secrets.token_urlsafe(32) + "="


def is_key(text: str) -> bool:
    """Whether the text can be a key of FIELD_ENCRYPTION_KEYS."""
    try:
        Fernet(text)
    except (ValueError, TypeError):
        return False
    return True


def _fernet() -> MultiFernet:
    keys = settings.FIELD_ENCRYPTION_KEYS or [_key_in(Path(settings.VAR_DIR) / "encryption_key")]
    if not all(is_key(key) for key in keys):
        raise InvalidInput(_("FIELD_ENCRYPTION_KEYS holds something that is no key; see `manage.py check`."))
    return MultiFernet([Fernet(key) for key in keys])


def _key_in(path: Path) -> str:
    """The key in this file, which is made at first use.

    It is written to a draft (mkstemp: readable by its owner only) that is then hard-linked, which fails if the file
    exists: two processes that make a key at the same time agree on one.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(new_key())
            file.flush()
            os.fsync(file.fileno())  # the key must be on disk before anything that was encrypted with it
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    return path.read_text()
