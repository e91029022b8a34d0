"""`manage.py serve` as a person starts it: answers, stops, and leaves nothing behind."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from annotate.management.commands import serve
from tests.processes import ROOT, run_manage
from tests.services import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.only_on("sqlite")  # slow, and about processes rather than rows


def slow(*values):
    """Another of a kind of which each run tests one."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def environment(tmp_path_factory, database_url):
    """A migrated database of its own and a port that was free a moment ago."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "VAR_DIR": str(folder), "FILES_DIR": str(folder / "files"), "PORT": str(free_port())}
    environment |= {"DATABASE_URL": database_url, "WEB_PROCESSES": "1", "READY_FREE_SHARE": "0"}
    return environment


@contextmanager
def started(environment):
    """A site that has said it is ready."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "serve"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: "Serving on" in process.stdout.readline())
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def site(environment):
    """One for all tests that leave it as it was."""
    with started(environment) as process:
        yield process


@pytest.fixture
def elsewhere(environment, tmp_path):
    """Beside the site that all share."""
    return {**environment, "VAR_DIR": str(tmp_path), "PORT": str(free_port())}


@pytest.fixture
def own_site(elsewhere):
    """One that may be ended."""
    with started(elsewhere) as process:
        yield process


def health(environment, path="/healthz"):
    connection = http.client.HTTPConnection("127.0.0.1", int(environment["PORT"]), timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def connect(environment, data):
    connection = socket.create_connection(("127.0.0.1", int(environment["PORT"])), timeout=10)
    connection.sendall(data)
    return connection


def children_of(pid):
    """Of a process and of its children, by /proc."""
    direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return direct + [below for child in direct for below in children_of(child)]


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_it_serves_with_a_worker_and_a_second_one_finds_the_port_taken(site, environment):
    assert health(environment) == (200, {"status": "ok"})
    wait_until(lambda: health(environment, "/readyz")[1]["status"] == "ready")
    second = run_manage("serve", environment=environment)
    assert second.returncode == 1
    assert "cannot be had" in second.stderr
    assert health(environment)[0] == 200


FORM = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
NEVER_DONE = {
    "connected": b"",
    "half a header": b"GET / HTTP/1.1\r\nHo",
    "half a form": FORM + b"Content-Length: 100\r\n\r\nemail=",
    "half a chunk": FORM + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "kept alive": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he",
}


def test_as_many_unfinished_requests_as_a_browser_opens_stop_nobody(site, environment):
    """More than there are threads would: a proxy waits for those (docs/decisions/014)."""
    for data in NEVER_DONE.values():
        with ExitStack() as stay_open:
            for _ in range(6):
                stay_open.enter_context(connect(environment, data))
            assert health(environment)[0] == 200


def test_half_a_form_is_no_form(site, environment):
    with connect(environment, NEVER_DONE["half a form"]) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_a_request_may_come_in_pieces_and_on_a_kept_connection(site, environment):
    with connect(environment, b"GET /healthz HT") as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (
            b"TP/1.1\r\nHost: loc",
            b"alhost\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\n",
            b"Host: localhost\r\n\r\n",
        ):
            connection.sendall(piece)
        received = b""
        while received.count(b"200 OK") < 2:
            received += connection.recv(4096)


@pytest.fixture
def line(monkeypatch):
    """Somebody's end of a connection, and ours as the web server gets it; a pause may be two seconds long."""
    monkeypatch.setattr(serve, "_PAUSE_SECONDS", 2)
    with serve._listener("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as theirs:
        ours, _ = listener.accept()
        with ours:
            yield theirs, ours


def test_a_large_file_on_a_slow_line_arrives_however_long_it_takes(line):
    theirs, ours = line
    pieces = [threading.Timer(n / 4, theirs.sendall, [b"x"]) for n in range(10)]  # for longer than a pause may be
    for piece in pieces:
        piece.start()
    assert [ours.recv(1) for _ in pieces] == [b"x"] * len(pieces)


def test_who_pauses_in_mid_request_keeps_no_thread(line):
    theirs, ours = line
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"
    hang_up = threading.Timer(8, theirs.shutdown, [socket.SHUT_RDWR])  # so that a failure ends, too
    hang_up.start()
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    hang_up.cancel()


@pytest.mark.parametrize(
    ("address", "is_exposed"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True), ("192.168.1.7", True)]
)
def test_who_can_be_reached_without_a_proxy_is_told_so(settings, address, is_exposed):
    assert serve.is_exposed(address) is is_exposed
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert not serve.is_exposed(address)


def test_nobody_without_a_proxy_says_how_they_came(site, environment):
    """Else anybody on this machine could make the site believe that it was asked by https."""
    with connect(environment, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n\r\n") as connection:
        assert b"Location: /sign-in" in connection.recv(4096)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("name", [slow(signal.SIGINT), signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_ends(own_site, name):
    below = children_of(own_site.pid)
    assert len(below) >= 3  # gunicorn, its process, the worker
    own_site.send_signal(name)
    assert own_site.wait(timeout=20) == (0 if name != signal.SIGKILL else -signal.SIGKILL)
    wait_until(lambda: all(is_gone(pid) for pid in below))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_worker_that_dies_is_started_again(site, environment):
    (worker,) = [
        pid for pid in children_of(site.pid) if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"worker\0")
    ]
    os.kill(worker, signal.SIGKILL)
    sign = Path(environment["VAR_DIR"]) / "worker.alive"
    sign.unlink(missing_ok=True)  # it may not have said anything yet
    wait_until(sign.exists)


@pytest.mark.parametrize(("variable", "value"), [("PORT", "http"), slow("PORT", "99999"), slow("WEB_THREADS", "many")])
def test_a_wrong_setting_is_a_sentence(elsewhere, variable, value):
    done = run_manage("serve", environment={**elsewhere, variable: value})
    assert done.returncode == 1
    assert f"is '{value}'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_limit_that_lets_nothing_in_is_a_sentence(elsewhere):
    done = run_manage("check", environment={**elsewhere, "UPLOAD_MAX_BYTES": "0"})
    assert done.returncode == 1
    assert "UPLOAD_MAX_BYTES must be at least 1 byte." in done.stderr


def test_a_port_can_be_asked_for_before_the_work(elsewhere):
    assert run_manage("serve", "--check", environment=elsewhere).returncode == 0


def unmigrated(environment, folder):
    return {**environment, "DATABASE_URL": f"sqlite:///{folder / 'empty.sqlite3'}"}


@pytest.mark.parametrize("command", [("serve",), slow(("worker", "--once")), slow(("status",))])
def test_a_database_that_lacks_migrations_is_refused_with_the_command_that_helps(elsewhere, tmp_path, command):
    done = run_manage(*command, environment=unmigrated(elsewhere, tmp_path))
    assert done.returncode == 1
    assert "Run `manage.py migrate`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that nobody can write to, not even root")
@pytest.mark.parametrize("command", [("serve",), slow(("serve", "--check")), slow(("worker", "--once"))])
def test_a_folder_that_cannot_be_written_is_named_at_once(elsewhere, command):
    done = run_manage(*command, environment={**elsewhere, "VAR_DIR": "/proc/self", "SECRET_KEY": "x" * 50})
    assert done.returncode == 1
    assert "/proc/self cannot be written" in done.stderr
