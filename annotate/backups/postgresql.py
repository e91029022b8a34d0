"""How a PostgreSQL database is dumped by pg_dump while people write to it, and restored by pg_restore."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient
from django.utils.translation import gettext as _

from annotate.backups.archive import Blocks
from annotate.errors import Conflict, FileDamaged
from annotate.models.snapshot import read_snapshot

MEMBER = "database.pgdump"
_BLOCK = 1 << 20
_ALIAS = "default"
# Level 1: people label meanwhile on the same cores, and higher levels save little.
_DUMP = ("--format=custom", "--compress=1", "--no-owner", "--no-privileges", "--lock-wait-timeout=20000")
_MIGRATIONS = re.compile(rb"^COPY (?:\S+\.)?django_migrations \((.*)\) FROM stdin;$")


@contextmanager
def dumped(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Dump the database as it is now to `path`; in the body queries under the alias that is given see that moment."""
    client = _checked_client("pg_dump", _server_version())
    with read_snapshot(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_export_snapshot()")
        snapshot = cursor.fetchone()[0]
        _dump(path, snapshot)
        yield _ALIAS, {"server": _server_version(), "client": client}


def migrations_in(blocks: Blocks) -> list[str]:
    """The migrations that the dumped database has had; FileDamaged if pg_restore cannot read all of the dump."""
    words = [_program("pg_restore"), "--file=-"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:  # noqa: S603
        assert child.stdin and child.stdout and child.stderr
        found: list[str] = []
        sql = child.stdout
        reading = threading.Thread(target=lambda: found.extend(_migrations(sql)))
        reading.start()
        _feed(child, blocks)
        reading.join()
        problem = _ending(child)
    if problem:
        raise FileDamaged(_("The database in the backup cannot be read: %(error)s.") % {"error": problem})
    return found


def is_empty() -> bool:
    """Whether the site's database has no table."""
    return not connection.introspection.table_names()


def put(blocks: Blocks) -> None:
    """Restore the dump into the site's database in one transaction: whole or not at all."""
    words, environment = _command("pg_restore")
    database = words.pop()
    words += ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={database}"]
    connection.close()
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:  # noqa: S603
        _feed(child, blocks)
        problem = _ending(child)
    if problem:
        raise Conflict(_("The database could not be restored: %(error)s.") % {"error": problem})


def obstacle(database: dict[str, Any]) -> str:
    """Why this machine cannot restore a dump of that server, as a sentence; empty: it can."""
    try:
        server, client = int(database["server"]), int(database["client"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileDamaged(_("The backup's manifest cannot be read: %(error)s.") % {"error": repr(error)}) from error
    if _server_version() < server:
        return _("The backup is of PostgreSQL %(there)s; this server is %(here)s, which is older.") % {
            "there": server,
            "here": _server_version(),
        }
    _checked_client("pg_restore", client)
    return ""


def _dump(path: Path, snapshot: str) -> None:
    words, environment = _command("pg_dump")
    words[1:1] = [*_DUMP, f"--snapshot={snapshot}"]
    # Written here and not by pg_dump, so that a full disk is an error of this process.
    with path.open("wb") as file, _started(words, environment) as child:
        assert child.stdout
        try:
            shutil.copyfileobj(child.stdout, file, _BLOCK)
        except BaseException:
            child.kill()
            raise
        problem = _ending(child)
    if problem:
        raise Conflict(_("The database could not be dumped: %(error)s.") % {"error": problem})


def _started(words: Sequence[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603


def _command(program: str) -> tuple[list[str], dict[str, str]]:
    """The program's command line, the database's name last, and its variables: no password stands in a command line."""
    words, variables = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    return [_program(program), *words[1:]], {**os.environ, **(variables or {})}


def _feed(child: "subprocess.Popen[bytes]", blocks: Blocks) -> None:
    """Give the child all bytes; it is killed before it could end well if they turn out to be damaged."""
    assert child.stdin
    try:
        for block in blocks:
            child.stdin.write(block)
        child.stdin.close()
    except BrokenPipeError:  # the child has ended, and says why
        pass
    except BaseException:
        child.kill()
        raise


def _ending(child: "subprocess.Popen[bytes]") -> str:
    """Wait for the child's end; the last line of what it complained of if it failed, else an empty text."""
    assert child.stderr
    said = child.stderr.read().decode(errors="replace").strip()
    if not child.wait():
        return ""
    return (said.splitlines() or [f"{child.args!r} ended with {child.returncode}"])[0].rstrip(".")


def _migrations(sql: IO[bytes]) -> Iterator[str]:
    """The migrations in the SQL of a dump, all of which is read."""
    columns: list[bytes] = []
    for line in sql:
        if columns and line.startswith(b"\\."):
            columns = []
        elif columns:
            row = dict(zip(columns, line.rstrip(b"\n").split(b"\t"), strict=False))
            yield f"{row[b'app'].decode()}.{row[b'name'].decode()}"
        elif head := _MIGRATIONS.match(line.rstrip(b"\n")):
            columns = head[1].split(b", ")


def _checked_client(program: str, needed: int) -> int:
    """The program's major version; Conflict where it is older than the server or program that it must understand."""
    said = subprocess.run([_program(program), "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    found = re.search(r"\) (\d+)", said)
    version = int(found[1]) if found else 0
    if version < needed:
        raise Conflict(
            _(
                "%(program)s is of version %(here)s, and PostgreSQL %(there)s needs one of its own version or newer: "
                "install postgresql-client-%(there)s, and put its programs first in PATH."
            )
            % {"program": program, "here": version or said.strip() or "?", "there": needed}
        )
    return version


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Conflict(_("There is no %(program)s here: install PostgreSQL's client programs.") % {"program": name})
    return path


def _server_version() -> int:
    connection.ensure_connection()
    return int(connection.pg_version) // 10_000  # type: ignore[attr-defined]
