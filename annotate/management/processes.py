"""Child processes that end with their parent, and parents that are asked to stop."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from django.conf import settings

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before any fork


def manage(*arguments: str) -> list[str]:
    """The words that start one of our own commands."""
    return [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments]


def spawn(
    words: Sequence[str], *, environment: dict[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """A child in a session of its own: Ctrl-C reaches only us, and we stop it in our own order.

    On Linux it gets SIGTERM when this process dies, however that comes. Elsewhere it may outlive a kill -9 of ours;
    that is safe, because whatever is contested is claimed.
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
    """SIGTERM to all of them, SIGKILL to those that are there after `seconds`."""
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def asked_to_stop() -> threading.Event:
    """Set by SIGTERM, Ctrl-C and a closed terminal from now on."""
    asked = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, lambda *_: asked.set())
    return asked


def _die_with(parent: int) -> Callable[[], None] | None:
    if _libc is None:
        return None

    def in_child() -> None:
        assert _libc is not None
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return in_child
