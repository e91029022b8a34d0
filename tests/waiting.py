"""Waiting for what other processes and threads do: until it is so, with a deadline."""

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], object], seconds: float = 90) -> None:
    """Ask again and again; fails after `seconds`, which nothing but a fault should take."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.02)
