"""Decides which settings hold values that cannot work; `manage.py check` prints each with what to do about it."""

from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from annotate.silver import secrets


@register()
def check_unreadable(**_: Any) -> list[CheckMessage]:
    """Variables of the environment that labelapp/settings.py could not read; it used their defaults."""
    return [
        Error(f"{name} {problem}", hint=f"Correct {name} in the environment, or unset it.", id="goldloop.E001")
        for name, problem in settings.SETTINGS_ERRORS
    ]


@register()
def check_site_url(**_: Any) -> list[CheckMessage]:
    url = urlsplit(settings.SITE_URL)
    if url.scheme in ("http", "https") and url.netloc and not url.query:
        return []
    hint = "Give the address people type, for instance https://labels.example.org."
    return [Error(f"SITE_URL is {settings.SITE_URL!r}, not an http(s) address.", hint=hint, id="goldloop.E002")]


@register()
def check_encoder_path(**_: Any) -> list[CheckMessage]:
    path = settings.ENCODER_PATH
    if not path or (Path(path) / "config.json").is_file():
        return []
    hint = "Give a directory with config.json, tokenizer and model.safetensors, or unset ENCODER_PATH."
    return [Error(f"ENCODER_PATH {path!r} holds no encoder.", hint=hint, id="goldloop.E003")]


@register()
def check_at_least_one(**_: Any) -> list[CheckMessage]:
    units = {"RUN_LEASE_SECONDS": "second", "ANSWER_LEASE_SECONDS": "second", "RUN_ATTEMPTS": "attempt"}
    units |= {"SEAL_SECONDS": "second"}
    units |= {"UPLOAD_MAX_BYTES": "byte", "IMPORT_MAX_BYTES": "byte"}
    units |= {"WORKER_LLM_RUNS": "run", "WORKER_IO_RUNS": "run", "WORKER_ML_RUNS": "run"}
    units |= {"UPLOAD_DAILY_BYTES": "byte", "UPLOAD_DAILY_FILES": "file"}
    return [
        Error(f"{name} must be at least 1 {unit}.", hint=f"Unset {name} for the default.", id="goldloop.E004")
        for name, unit in units.items()
        if getattr(settings, name) < 1
    ]


@register()
def check_free_share(**_: Any) -> list[CheckMessage]:
    if 0 <= settings.READY_FREE_SHARE < 1:
        return []
    hint = "Give a share of the disk, for instance 0.05; 0: none."
    return [Error("READY_FREE_SHARE must be from 0 to below 1.", hint=hint, id="goldloop.E007")]


@register()
def check_redis_url(**_: Any) -> list[CheckMessage]:
    try:
        url = urlsplit(settings.REDIS_URL)
        is_usable = url.scheme in ("redis", "rediss") and bool(url.hostname) and url.port != 0
    except ValueError:  # raised where the port is no number
        is_usable = False
    if is_usable or not settings.REDIS_URL:
        return []
    # The value may hold a password, so it is not repeated.
    hint = "Give redis://host:6379/0, or unset REDIS_URL to work without a broker."
    return [Error("REDIS_URL is not the address of a Redis server.", hint=hint, id="goldloop.E005")]


@register()
def check_encryption_keys(**_: Any) -> list[CheckMessage]:
    if all(secrets.is_key(key) for key in settings.FIELD_ENCRYPTION_KEYS):
        return []
    hint = f"Give keys such as a new one that was just made, {secrets.new_key()}, separated by commas."
    return [Error("FIELD_ENCRYPTION_KEYS holds something that is no key.", hint=hint, id="goldloop.E006")]


@register()
def check_mail(**_: Any) -> list[CheckMessage]:
    """Mail needs a sender, and links that lead here; only where EMAIL_URL is set."""
    if not settings.HAS_MAIL:
        return []
    found: list[CheckMessage] = []
    if not _is_sender(settings.DEFAULT_FROM_EMAIL):
        hint = "Give the address that mail comes from, for instance labels@example.org."
        found.append(Error("EMAIL_URL is set, but EMAIL_FROM is no e-mail address.", hint=hint, id="goldloop.E007"))
    if urlsplit(settings.SITE_URL).hostname in ("localhost", "127.0.0.1", "::1"):
        hint = "Set SITE_URL to the address at which others reach the site."
        sentence = "EMAIL_URL is set, but links in mail lead to the reader's own machine."
        found.append(Warning(sentence, hint=hint, id="goldloop.W001"))
    return found


def _is_sender(text: str) -> bool:
    """Whether it is one address, alone or as in "Labels <labels@example.org>"."""
    try:
        validate_email(parseaddr(text)[1])
    except ValidationError:
        return False
    return text.isprintable()
