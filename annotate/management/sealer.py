"""Decides when a worker seals by itself: each minute the chains that grew, each hour all that something happened to."""

import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, connection

from annotate.models import Project
from annotate.seals import leaves, sealing

_HOUR = 3_600.0
# Of one processor. With all of it, the first seal of 100,000 items made the 99th percentile of submits 250-400 ms
# instead of 20 on two cores: whoever holds SQLite's write lock waited for the processor, and all others for them.
_SHARE = 0.2


class Sealer:
    """Seals in a thread of its own, with its own database connection, from `start` to `stop`."""

    def __init__(self, complain: Callable[[str], object]) -> None:
        self._complain = complain
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sealer", daemon=True)
        self._newest: dict[str, int] = {}  # by leaf: the highest key seen
        self._grown: set[int | None] = set()  # chains (None: the site's) that grew since their last seal
        self._unread: set[int | None] = set()  # those that grew since they were compared whole
        self._last_full = -_HOUR
        self._rested = time.monotonic()  # when the last rest ended

    def start(self) -> None:
        """Begin; the first round compares all chains whole."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Ask the thread to end after the seal that it writes, and wait for that."""
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def round(self) -> None:
        """Seal what is new in the chains that grew; each hour compare each of these chains whole."""
        is_full = time.monotonic() - self._last_full >= _HOUR
        self._look()
        waiting = self._unread if is_full else self._grown
        for chain in sorted(waiting, key=lambda chain: chain or 0):
            if self._asked.is_set():
                return
            self._seal(chain, is_full=is_full)
            self._grown.discard(chain)
            if is_full:
                self._unread.discard(chain)
        if is_full:
            self._last_full = time.monotonic()

    def _seal(self, chain: int | None, *, is_full: bool) -> None:
        project = None if chain is None else Project.objects.get(pk=chain)
        self._rested = time.monotonic()
        if not is_full:
            sealing.seal_recent(project, rest=self._rest)
            return
        for sentence in sealing.seal_all(project, lambda: not self._asked.is_set(), rest=self._rest).refused:
            self._complain(f"sealer: {project or 'site'}: {sentence}")

    def _rest(self) -> None:
        """Leave the processor to others four times as long as it was used since the last rest, unless asked to end."""
        used = time.monotonic() - self._rested
        self._asked.wait(used * (1 / _SHARE - 1))
        self._rested = time.monotonic()

    def _run(self) -> None:
        try:
            while not self._asked.is_set():
                self._patiently(self.round)
                self._asked.wait(settings.SEAL_SECONDS)
        finally:
            connection.close()

    def _patiently(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DatabaseError as error:
            connection.close()
            self._complain(f"sealer: {error}")

    def _look(self) -> None:
        """Note the chains whose tables have rows with higher keys than at the last look; at the first, all chains."""
        if not self._newest:
            self._note({None, *Project.objects.values_list("pk", flat=True)})
        for leaf in leaves.GROWING:
            rows = leaf.model._default_manager.order_by()
            newest = rows.order_by("-pk").values_list("pk", flat=True).first() or 0
            before = self._newest.get(leaf.name)
            if before is not None and newest > before:
                new = rows.filter(pk__gt=before)
                self._note(set(new.values_list(leaf.project, flat=True).distinct()) if leaf.project else {None})
            self._newest[leaf.name] = newest

    def _note(self, chains: set[int | None]) -> None:
        self._grown |= chains
        self._unread |= chains
