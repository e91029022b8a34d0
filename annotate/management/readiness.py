"""Decides whether this machine can serve the site or do its work now; if not, which command or setting helps."""

import os
import tempfile
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection

from annotate import restored
from annotate.models import migrated


def folder_obstacle() -> str:
    """Why files cannot be kept, as a sentence that names the folder; empty where they can."""
    if sentence := restored.unfinished_sentence():
        return sentence
    database = _database_file()
    for folder in (settings.VAR_DIR, settings.FILES_DIR, *([database.parent] if database else [])):
        if reason := _why_not_writable(folder):
            return f"{folder} cannot be written ({reason}). Make it writable, or set VAR_DIR to a folder that is."
    if database and database.exists() and not os.access(database, os.W_OK):
        return f"The database {database} cannot be written. Make it writable, or set DATABASE_URL to another one."
    return ""


def database_obstacle() -> str:
    """Why the database cannot serve yet, as a sentence that names the command; empty where it can."""
    try:
        n_waiting = migrated.n_waiting()
    except DatabaseError as error:
        return f"The database does not answer: {error}".strip()
    if not n_waiting:
        return ""
    lacking = "1 migration" if n_waiting == 1 else f"{n_waiting} migrations"
    return f"The database lacks {lacking} of this version. Run `manage.py migrate`, then start again."


def _database_file() -> Path | None:
    """The file of an SQLite database; None where it is elsewhere, or in memory."""
    path = Path(connection.settings_dict["NAME"] or "")
    return path if connection.vendor == "sqlite" and path.is_absolute() else None


def _why_not_writable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__
