"""Workers in processes of their own, of both kinds: the embedded one, and Celery with a real Redis."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.processes import ROOT
from tests.services import die_with_us

EMBEDDED = [sys.executable, "manage.py", "worker"]
CELERY = [
    sys.executable, "-m", "celery", "-A", "labelapp", "worker", "-Q", "llm,io,ml", "-c", "2",
    "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "warning",
]  # fmt: skip


class Worker:
    """One worker that can be killed and is started again by `keep`, as whoever runs a site has it."""

    def __init__(self, words: list[str], environment: Mapping[str, str]) -> None:
        self.words, self.environment = words, dict(environment)
        self.n_starts = 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.words,
            cwd=ROOT,
            env=self.environment,
            start_new_session=True,
            preexec_fn=die_with_us(os.getpid(), signal.SIGTERM),
        )
        self.n_starts += 1

    def keep(self) -> None:
        """Start it again if it is gone."""
        if self.process.poll() is not None:
            self.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30) -> int:
        self.process.terminate()
        return self.process.wait(timeout=seconds)


@contextmanager
def working(words: list[str], environment: Mapping[str, str]) -> Iterator[Worker]:
    worker = Worker(words, environment)
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.process.terminate()
            try:
                worker.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                worker.kill()


def environment_for(database_url: str, folder: str, **more: str) -> dict[str, str]:
    """Small times, so that a lost worker is missed within seconds."""
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "VAR_DIR": folder,
        "FILES_DIR": f"{folder}/files",
        "WORKER_POLL_SECONDS": "0.1",
        "RUN_SWEEP_SECONDS": "0.5",
        "RUN_ATTEMPTS": "6",  # what is killed twice on purpose has some left for a machine that is too busy
        "RUN_LEASE_SECONDS": "30",  # a dead process is missed at once; this is for hosts that are gone
        **more,
    }
