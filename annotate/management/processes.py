"""Decides how child processes start and end: they end with their parent, and are asked to stop before being killed."""

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before any fork


def manage(*arguments: str) -> list[str]:
    """The command line of `manage.py` with these arguments."""
    return [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments]


def spawn(
    words: Sequence[str], *, environment: dict[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start a child process in a session of its own, so that Ctrl-C reaches only this process, which then stops it.

    On Linux the child gets SIGTERM when this process dies, even by kill -9. Elsewhere it may outlive this process;
    that is safe, because two processes never claim the same run.
    """
    return subprocess.Popen(  # noqa: S603
        list(words),
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=_die_with(os.getpid()),
    )


def stop(*children: subprocess.Popen[bytes], seconds: float) -> None:
    """Send SIGTERM to all children, and SIGKILL to those that still run after `seconds` in all."""
    for child in children:
        child.terminate()
    until = time.monotonic() + seconds
    for child in children:
        try:
            child.wait(timeout=max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def asked_to_stop() -> threading.Event:
    """An event that SIGTERM, Ctrl-C and a closed terminal set from now on."""
    asked = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, lambda *_: asked.set())
    return asked


@contextmanager
def alarm() -> Iterator[Callable[[float], None]]:
    """Gives a function that waits so many seconds, but not on after a child ended or a signal came. Main thread only.

    Through a pipe: whoever waits for a lock could meet the handler of the signal that takes the same lock.
    """
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler of Python's nothing is written

    def wait(seconds: float) -> None:
        if select.select([reading], [], [], seconds)[0]:
            os.read(reading, 4096)

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def _die_with(parent: int) -> Callable[[], None] | None:
    if _libc is None:
        return None

    def in_child() -> None:
        assert _libc is not None
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before prctl was called
            os._exit(1)

    return in_child
