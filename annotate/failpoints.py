"""Decides whether a fault test kills this process at a named point in the code. Without the test's variables: never.

CHAOS_POINTS lists failpoints, separated by commas; `run.write:2` kills when `run.write` is reached for the second
time. CHAOS_MARKS is a folder with one file per failpoint that has struck, so that each strikes once, also after a
restart. With CHAOS_WHOM=parent the parent process is killed first.
"""

import os
import signal
from collections import Counter
from pathlib import Path

_POINTS = {point for point in os.environ.get("CHAOS_POINTS", "").split(",") if point}
_seen: Counter[str] = Counter()


def hit(name: str) -> None:
    """The code has reached the failpoint `name`: kill this process with SIGKILL if CHAOS_POINTS says so."""
    if not _POINTS:
        return
    _seen[name] += 1
    here = f"{name}:{_seen[name]}"
    if here in _POINTS and _is_first(here):
        if os.environ.get("CHAOS_WHOM") == "parent":
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def _is_first(name: str) -> bool:
    try:
        (Path(os.environ["CHAOS_MARKS"]) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
