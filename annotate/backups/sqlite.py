"""How an SQLite database is copied while people write to it, and how the copy becomes the database of another site."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.utils.translation import gettext as _

from annotate.backups.archive import Blocks
from annotate.errors import FileDamaged

MEMBER = "database.sqlite3"
_ALIAS = "backup"


@contextmanager
def dumped(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copy the database as it is now to `path`; in the body the copy can be queried under the alias that is given.

    VACUUM INTO reads one moment and stops no writer. SQLite's backup API would begin again at each write.
    """
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(path)])
    # immutable: no WAL is made beside the copy, and nothing in it changes.
    copied = {**connection.settings_dict, "NAME": f"file:{quote(str(path))}?mode=ro&immutable=1", "OPTIONS": {}}
    connections[_ALIAS] = type(connections[DEFAULT_DB_ALIAS])(copied, alias=_ALIAS)  # of this thread alone
    try:
        yield _ALIAS, {"server": sqlite3.sqlite_version}
    finally:
        connections[_ALIAS].close()
        del connections[_ALIAS]


def migrations_in(blocks: Blocks) -> list[str]:
    """The migrations that the copied database has had; FileDamaged if SQLite cannot read all of it."""
    with tempfile.TemporaryDirectory(prefix="goldloop-check-") as folder:
        path = Path(folder) / MEMBER
        _write(path, blocks)
        try:
            with closing(_read_only(path)) as copy:
                ((verdict,),) = copy.execute("PRAGMA quick_check(1)").fetchall()
                rows = copy.execute("SELECT app, name FROM django_migrations ORDER BY id").fetchall()
        except (sqlite3.DatabaseError, ValueError) as error:
            verdict, rows = str(error), []
    if verdict != "ok":
        raise FileDamaged(_("The database in the backup cannot be read: %(error)s.") % {"error": verdict})
    return [f"{app}.{name}" for app, name in rows]


def is_empty() -> bool:
    """Whether the site's database has no table; a file that is not there has none, and is not made."""
    path = _path()
    if not path.exists() or not path.stat().st_size:
        return True
    try:
        with closing(_read_only(path)) as found:
            return not found.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError:
        return False  # something is in that file


def put(blocks: Blocks) -> None:
    """Make the copied database the site's, whole or not at all."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.restoring")
    try:
        _write(draft, blocks)
        connection.close()
        for end in ("-wal", "-shm"):  # of the empty database; SQLite would apply them to the new one
            Path(f"{path}{end}").unlink(missing_ok=True)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def obstacle(_database: dict[str, Any]) -> str:
    """Why this machine cannot read the copied database; empty: it can."""
    return ""


def _write(path: Path, blocks: Blocks) -> None:
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)


def _path() -> Path:
    return Path(connection.settings_dict["NAME"])
