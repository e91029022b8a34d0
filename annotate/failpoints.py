"""Named points at which a fault test may kill this process; without that test's variables nothing happens at them.

CHAOS_POINTS holds them, separated by commas: `run.write:2` dies at the second time. CHAOS_MARKS is a folder that
remembers which have struck, so that each strikes once, whatever starts the work again. With CHAOS_WHOM=parent the
process that started this one dies first.
"""

import os
import signal
from collections import Counter
from pathlib import Path

_POINTS = {point for point in os.environ.get("CHAOS_POINTS", "").split(",") if point}
_seen: Counter[str] = Counter()


def hit(name: str) -> None:
    """Die here as by `kill -9`, if the environment asks for it."""
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
