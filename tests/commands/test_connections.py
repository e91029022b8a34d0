"""How long a request may take to arrive."""

import socket
import threading
import time

import pytest

from annotate.management import connections
from annotate.management.connections import Arriving


@pytest.fixture
def line(monkeypatch):
    """Somebody's end of a connection, and ours; a request has a second, or as long as 10 kB/s take."""
    monkeypatch.setattr(connections, "ARRIVE_SECONDS", 1.0)
    monkeypatch.setattr(connections, "_SLOWEST", 10_000)
    theirs, ours = socket.socketpair()
    with theirs, ours:
        arriving = Arriving(ours)
        arriving.until = time.monotonic() + 1.0
        yield theirs, arriving


def send(theirs, pieces, pause):
    def work():
        for piece in pieces:
            theirs.sendall(piece)
            time.sleep(pause)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def read(arriving, n):
    taken = 0
    while taken < n:
        taken += len(arriving.read())
    return taken


def test_a_large_file_on_a_slow_line_arrives(line):
    theirs, arriving = line
    thread = send(theirs, [b"x" * 4_000] * 20, 0.1)  # for two seconds, twice as long as a form may take
    assert read(arriving, 80_000) == 80_000
    thread.join()


def test_what_comes_too_slowly_does_not(line):
    theirs, arriving = line
    thread = send(theirs, [b"x" * 10] * 20, 0.1)
    with pytest.raises(ConnectionResetError):
        read(arriving, 200)
    thread.join()


def test_who_sent_much_may_not_pause_for_longer_either(line):
    theirs, arriving = line
    theirs.sendall(b"x" * 50_000)  # worth five seconds
    read(arriving, 50_000)
    began = time.monotonic()
    with pytest.raises(ConnectionResetError):
        arriving.read()
    assert time.monotonic() - began < 3
