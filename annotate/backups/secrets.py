"""Decides how the site's secrets travel: in the archive, in a file apart, encrypted or not; by fingerprint otherwise.

Secrets are the key of sessions (SECRET_KEY) and those that encrypt the keys of LLM servers (FIELD_ENCRYPTION_KEYS).
Where the environment gives one, no file of the site holds it and no archive takes it.
"""

import base64
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.utils.translation import gettext as _

from annotate.errors import Conflict, FileDamaged, InvalidInput

IN_FILES = {"SECRET_KEY": "secret_key", "FIELD_ENCRYPTION_KEYS": "encryption_key"}  # variable -> file in VAR_DIR
INSIDE, APART, NONE = "inside", "apart", "none"
# 64 MB and about 0.2 s for each guess at a passphrase.
_SCRYPT = {"n": 1 << 16, "r": 8, "p": 1, "maxmem": 1 << 27}
_QUICK = {"n": 1 << 12, "r": 8, "p": 1}  # of fingerprints: keys that were made are too long to be guessed
_PURPOSE = b"goldloop backup secrets 1"
_MOST_BYTES = 1 << 20
_SEALED = {"salt", "nonce", "data"}


def in_files() -> dict[str, str]:
    """The secrets that are kept in files of VAR_DIR and are in force, by their variable."""
    found = {}
    for variable, name in IN_FILES.items():
        path = Path(settings.VAR_DIR) / name
        if not _from_environment(variable) and path.is_file():
            found[variable] = path.read_text()
    return found


def description() -> dict[str, Any]:
    """For the manifest: which secrets are in force, where from, and their fingerprints."""
    salt = secrets.token_bytes(16)
    found = [
        {
            "variable": variable,
            "from": "environment" if _from_environment(variable) else "file",
            "fingerprints": [_fingerprint(value, salt) for value in _in_force(variable)],
        }
        for variable in IN_FILES
    ]
    return {"salt": _text(salt), "in_force": found}


def missing(described: dict[str, Any], given: dict[str, str]) -> list[str]:
    """The variables whose secrets would be others than when the backup was taken, were `given` put into VAR_DIR."""
    salt = base64.b64decode(described["salt"])
    lacking = []
    for one in described["in_force"]:
        variable = one["variable"]
        if variable not in IN_FILES:
            continue
        own = [given[variable]] if variable in given and not _from_environment(variable) else _in_force(variable)
        if not set(one["fingerprints"]) <= {_fingerprint(value, salt) for value in own}:
            lacking.append(variable)
    return lacking


def sealed(found: dict[str, str], passphrase: str | None) -> bytes:
    """The secrets as a JSON file, encrypted with the passphrase if there is one (scrypt, AES-256-GCM)."""
    if passphrase is None:
        return orjson.dumps({"secrets": found})
    salt, nonce = os.urandom(16), os.urandom(12)
    data = AESGCM(_key(passphrase, salt)).encrypt(nonce, orjson.dumps(found), _PURPOSE)
    return orjson.dumps({"encrypted": {"salt": _text(salt), "nonce": _text(nonce), "data": _text(data)}})


def is_encrypted(content: bytes) -> bool:
    """Whether a passphrase is needed to open these secrets."""
    return "encrypted" in _loaded(content)


def unsealed(content: bytes, passphrase: str | None) -> dict[str, str]:
    """The secrets in the file; InvalidInput where the passphrase is missing or wrong."""
    found = _loaded(content)
    if "encrypted" in found:
        if passphrase is None:
            raise InvalidInput(_("The secrets in this backup are encrypted: give the passphrase."))
        found = {"secrets": _decrypted(found["encrypted"], passphrase)}
    return {name: value for name, value in found["secrets"].items() if name in IN_FILES}


def read_file(path: Path) -> bytes:
    """The content of a file with secrets that `backup --secrets-to` wrote."""
    try:
        return path.read_bytes()[:_MOST_BYTES]
    except OSError as error:
        raise InvalidInput(_("%(file)s cannot be read: %(error)s.") % {"file": path, "error": error.strerror}) from None


def write_new(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read; Conflict if there is one."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise Conflict(_("%(file)s is there already; nothing was overwritten.") % {"file": path}) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()
        raise


def put(found: dict[str, str]) -> None:
    """Put the secrets into VAR_DIR, in place of those that this process made when it started."""
    for variable, value in found.items():
        path = Path(settings.VAR_DIR) / IN_FILES[variable]
        draft = path.with_name(f".{path.name}.restoring")
        draft.unlink(missing_ok=True)
        write_new(draft, value.encode())
        draft.replace(path)


def _in_force(variable: str) -> Sequence[str]:
    if variable == "SECRET_KEY":
        return [settings.SECRET_KEY]
    path = Path(settings.VAR_DIR) / IN_FILES[variable]
    return settings.FIELD_ENCRYPTION_KEYS or ([path.read_text()] if path.is_file() else [])


def _from_environment(variable: str) -> bool:
    return bool(os.environ.get("SECRET_KEY") if variable == "SECRET_KEY" else settings.FIELD_ENCRYPTION_KEYS)


def _loaded(content: bytes) -> dict[str, dict[str, str]]:
    """What the file holds, "secrets" or "encrypted"; FileDamaged where it has another form."""
    try:
        found = orjson.loads(content)
    except ValueError:
        found = None
    if isinstance(found, dict):
        if "encrypted" in found and _are_texts(found["encrypted"]) and found["encrypted"].keys() >= _SEALED:
            return {"encrypted": found["encrypted"]}
        if "encrypted" not in found and _are_texts(found.get("secrets")):
            return {"secrets": found["secrets"]}
    raise _no_secrets()


def _decrypted(found: dict[str, str], passphrase: str) -> dict[str, str]:
    try:
        salt, nonce, data = (base64.b64decode(found[name]) for name in ("salt", "nonce", "data"))
        opened = orjson.loads(AESGCM(_key(passphrase, salt)).decrypt(nonce, data, _PURPOSE))
    except InvalidTag:
        raise InvalidInput(_("The passphrase does not open the secrets of this backup.")) from None
    except ValueError:
        raise _no_secrets() from None
    if not _are_texts(opened):
        raise _no_secrets()
    return opened


def _are_texts(found: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def _no_secrets() -> FileDamaged:
    return FileDamaged(_("This file holds no secrets of a backup."))


def _key(passphrase: str, salt: bytes) -> bytes:
    return hashlib.scrypt(passphrase.encode(), salt=salt, dklen=32, **_SCRYPT)


def _fingerprint(value: str, salt: bytes) -> str:
    return hashlib.scrypt(value.encode(), salt=salt, dklen=8, **_QUICK).hex()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
