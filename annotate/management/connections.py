"""Which connections get a thread of the web server: those on which a whole request has arrived."""

import errno
import re
import selectors
import socket
import time
from functools import partial
from typing import Any

from django.conf import settings
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]
from gunicorn.http.unreader import SocketUnreader  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

ARRIVE_SECONDS = 10.0  # for a request to arrive; a form is a few kB
_SLOWEST = 16_000  # bytes a second; a large file gets as much longer as it takes at this rate, while pieces come
_SEND_SECONDS = 60.0  # for one piece of an answer to somebody who does not read it
# Held while no thread waits, so a process holds at most this much for each of its connections.
_MAX_HELD = 64 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})", re.IGNORECASE)


class Arriving(SocketUnreader):  # type: ignore[misc]
    """What has come of a request. Half of one is an error: half a form must never pass as a form."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.until = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:
        remaining = self.until - time.monotonic()
        if remaining > 0:
            self.sock.settimeout(remaining)
            try:
                if data := super().chunk(size_hint):
                    self._go_on(len(data))
                    return bytes(data)
            except TimeoutError:
                pass
            finally:
                self.sock.settimeout(_SEND_SECONDS)
        raise ConnectionResetError(errno.ECONNRESET, "the request did not arrive whole")

    def _go_on(self, n_bytes: int) -> None:
        """A piece came: the whole may take longer, and a pause never."""
        self.until = min(self.until + n_bytes / _SLOWEST, time.monotonic() + ARRIVE_SECONDS)

    def fill(self) -> bool:
        """Take what is there, without waiting; False where nothing will come any more."""
        try:
            data = self.sock.recv(_MAX_HELD)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.buf.seek(0, 2)
        self.buf.write(data)
        return bool(data)

    def is_ready(self) -> bool:
        """Whether a thread would not wait for it; or it is refused unread, or is too large to be held here."""
        held = self.buf.getvalue()
        end = held.find(b"\r\n\r\n")
        if end < 0 or len(held) >= _MAX_HELD:
            return len(held) >= _MAX_HELD
        found = _LENGTH.search(held, 0, end)
        length = int(found[1]) if found else 0
        return len(held) - end - 4 >= length or length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE


class Connection(TConn):  # type: ignore[misc]
    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.data_ready = True  # a thread gets it only then
        self.arriving = Arriving(sock)
        self.parser = RequestParser(cfg, sock, client)
        self.parser.unreader = self.arriving
        self.is_over = False


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's gthread gives a thread to each connection that has sent a byte, and has no deadline.

    A dozen half-sent requests would stop the site, and so would a dozen that do not hang up: gthread waits for them
    in its only loop. Here both wait beside each other in that loop, ARRIVE_SECONDS at most.
    """

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE):
                return
            raise
        self.nr_conns += 1
        self._wait(Connection(self.cfg, sock, client, listener.getsockname()))

    def enqueue_req(self, conn: Connection) -> None:
        if conn.arriving.is_ready():
            super().enqueue_req(conn)
        else:
            self._wait(conn)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """A connection that was kept open begins its next request."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._wait(conn)

    def on_pending_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        is_open = conn.arriving.fill()
        if conn.is_over:
            conn.arriving.take_buffered()  # read, so that the answer is not cut off by a reset
        if is_open and (conn.is_over or not conn.arriving.is_ready()):
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        if is_open:
            super().enqueue_req(conn)
        else:
            self._drop(conn)

    def handle(self, conn: Connection) -> Any:
        conn.arriving.until = time.monotonic() + ARRIVE_SECONDS
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        conn.sock.settimeout(_SEND_SECONDS)
        try:
            return super().handle_request(req, conn)
        finally:
            conn.arriving.until = 0.0  # what the site did not read of a request, no thread waits for

    def finish_request(self, conn: Connection, fs: Any) -> None:
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
        else:
            self._hang_up(conn)

    def _hang_up(self, conn: Connection) -> None:
        conn.is_over = True
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            self._wait(conn)
        except OSError:  # the other side did so first
            self._drop(conn)

    def _wait(self, conn: Connection) -> None:
        # All wait equally long, so the first in the row is the first whose time is over (murder_pending).
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + ARRIVE_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _drop(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()
