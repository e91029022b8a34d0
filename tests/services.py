"""PostgreSQL and Redis of the tests' own: private folders, free ports, gone when the test process is gone.

`python -m tests.services COMMAND …` runs a command with DATABASE_URL and REDIS_URL of two such servers, PostgreSQL with
the durability it has by default. Nothing of the machine's own servers is touched. A missing program skips the tests
that ask for it, or fails them where REQUIRE_SERVICES=1.
"""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from django.db.backends.base.base import BaseDatabaseWrapper
from redis.backoff import NoBackoff
from redis.retry import Retry

_START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
# Only for tests: a power failure may lose all of it, a killed server loses nothing.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "1h",
    "max_connections": "200",
}
_DURABLE = {"shared_buffers": "128MB", "max_wal_size": "2GB", "max_connections": "200"}


class Service:
    """One server: `start`, `stop` in order, `kill` as a power failure does, `restart` with the data it kept."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="goldloop-service-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def start(self) -> Self:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._words(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_us(os.getpid(), self._DEATH),
                **self._identity(),
            )
        self._wait_until_it_answers()
        return self

    def stop(self) -> None:
        self._end(self._STOP)

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        self._signal_all(signal.SIGKILL)
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        self.stop()
        return self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, it holds its connections and answers nothing."""
        self._signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        self._end(self._DEATH)
        shutil.rmtree(self.folder, ignore_errors=True)

    def answers(self) -> bool:
        raise NotImplementedError

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    _DEATH = signal.SIGKILL
    _STOP = signal.SIGTERM

    def _words(self) -> list[str]:
        raise NotImplementedError

    def _identity(self) -> dict[str, object]:
        return {}

    def _signal_all(self, how: signal.Signals) -> None:
        """Its children first: each is in a session of its own, and is nobody's once the server is gone."""
        assert self.process is not None
        for pid in (*_children(self.process.pid), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)
            self.process = None

    def _wait_until_it_answers(self) -> None:
        until = time.monotonic() + _START_SECONDS
        assert self.process is not None
        while time.monotonic() < until and self.process.poll() is None:
            if self.answers():
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self._words()[0]} did not start:\n{self.said()}")


class Redis(Service):
    """Without persistence: what is in it is gone with it, as with Debian's package and a memory-only setting."""

    def __init__(self) -> None:
        self._program = _found("redis-server", "redis-server")
        super().__init__()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        once = Retry(NoBackoff(), 0)
        with redis.Redis(port=self.port, socket_connect_timeout=1, socket_timeout=1, retry=once) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def _words(self) -> list[str]:
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.folder}
        return [self._program, *(str(word) for name, value in options.items() for word in (f"--{name}", value))]


class PostgreSQL(Service):
    """A cluster in a folder of its own, on loopback only; anybody on this machine may sign in while the tests run."""

    _DEATH = signal.SIGQUIT  # "immediate": its children end too, and it recovers at the next start
    _STOP = signal.SIGINT  # "fast": connections are closed, everything is written

    def __init__(self, *, durable: bool = False) -> None:
        """`durable`: with Debian's settings of what a commit waits for; for measurements and power failures."""
        self._folder_of_programs = _folder_of_postgresql()
        super().__init__()
        self._settings = _DURABLE if durable else _FAST
        self._user = _somebody()
        if self._user:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self._make_cluster()

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgres://goldloop@127.0.0.1:{self.port}/{database}"

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_cluster(self) -> None:
        # The C locale: texts are compared by their bytes, as in SQLite.
        options = ("--auth=trust", "--username=goldloop", "--encoding=UTF8", "--locale=C", "--no-sync")
        words = [str(self._folder_of_programs / "initdb"), "--pgdata", str(self.folder / "data"), *options]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False, **self._identity())
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _words(self) -> list[str]:
        own = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        options = [f"-c{name}={value}" for name, value in {**own, **self._settings}.items()]
        return [str(self._folder_of_programs / "postgres"), "-D", str(self.folder / "data"), *options]

    def _identity(self) -> dict[str, object]:
        if not self._user:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


@contextmanager
def running(make: Callable[[], Service]) -> Iterator[Service]:
    """A service that tests may stop and kill: `running(Redis)`, `running(PostgreSQL)`."""
    service = make()
    try:
        yield service.start()
    finally:
        service.remove()


def create_database(url: str, *, template: str = "template1") -> str:
    """A new database beside the one at `url`, a copy of `template`; returns its address."""
    name = f"goldloop_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        # Both names are made here or by the caller's test, never by people.
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def url_of(connection: BaseDatabaseWrapper) -> str:
    """The DATABASE_URL of a test's own database, for processes that work in it too."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def drop_database(url: str) -> None:
    address = urlsplit(url)
    with psycopg.connect(address._replace(path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{address.path[1:]}" WITH (FORCE)')


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # not Linux, or gone
        return []


def _found(program: str, package: str, folders: str = "") -> str:
    path = shutil.which(program) or shutil.which(program, path=folders)
    if path:
        return path
    sentence = f"There is no {program} (Debian: apt-get install --no-install-recommends {package})."
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"{sentence} REQUIRE_SERVICES=1 asks for it.")
    pytest.skip(sentence)


def _folder_of_postgresql() -> Path:
    """Where initdb and postgres lie side by side: Debian keeps them out of the PATH, newest version first here."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]), reverse=True)
    program = _found("initdb", "postgresql", os.pathsep.join(map(str, versions)))
    return Path(program).resolve().parent


def _somebody() -> pwd.struct_passwd | None:
    """Whom to run PostgreSQL as, which refuses to run as root; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody.")


def die_with_us(parent: int, how: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None

    def in_child() -> None:
        assert _libc is not None
        _libc.prctl(_PR_SET_PDEATHSIG, how)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return in_child


def main(command: Sequence[str]) -> int:
    with running(partial(PostgreSQL, durable=True)) as postgresql, running(Redis) as broker:
        environment = {**os.environ, "DATABASE_URL": create_database(postgresql.url), "REDIS_URL": broker.url}
        return subprocess.run(list(command), env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
