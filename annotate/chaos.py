"""Named points at which a fault test may kill this process; without that test's variables nothing happens at them.

CHAOS_POINTS holds them, separated by commas: `import.chunk:2` dies at the second time. CHAOS_MARKS is a folder that
remembers which have struck, so that each strikes once, whatever starts the work again. With CHAOS_WHOM=parent the
process that started this one dies first.
"""

import os
import signal
from collections import Counter
from pathlib import Path

_POINTS = (point.partition(":") for point in os.environ.get("CHAOS_POINTS", "").split(",") if point)
_WANTED = {name: int(at or 1) for name, _, at in _POINTS}
_seen: Counter[str] = Counter()


def point(name: str) -> None:
    """Die here as by `kill -9`, if the environment asks for it."""
    if name not in _WANTED:
        return
    _seen[name] += 1
    if _seen[name] == _WANTED[name] and _is_first(name):
        if os.environ.get("CHAOS_WHOM") == "parent":
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def _is_first(name: str) -> bool:
    try:
        (Path(os.environ["CHAOS_MARKS"]) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
