"""A project whose pre-labeling waits for a slow LLM server, for tests of what goes on beside it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotate.imports import ingest
from annotate.models import LedgerEntry, Prediction, Project, Run, RunLine
from annotate.money import budgets
from annotate.silver import connections
from tests import services
from tests.factories import make_project, make_user, write_jsonl
from tests.processes import ROOT
from tests.stub_llm import Options, Stub


class Process:
    """The stub in a process that can be killed and started again on its port; what it charged is in a file."""

    options = Options()

    def __init__(self, bill: Path) -> None:
        self._bill, self._port = bill, services.free_port()
        self.base_url = f"http://127.0.0.1:{self._port}/v1"
        self.start()

    def start(self) -> None:
        words = ["--port", str(self._port), "--latency", "0.1", "--bill", str(self._bill)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stub_llm", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None and re.search("Ready", self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def charges(self) -> list[int]:
        lines = self._bill.read_text().splitlines() if self._bill.exists() else []
        return [json.loads(line)["micros"] for line in lines]

    def n_charged(self) -> int:
        return len(self.charges())


@contextmanager
def server(bill: Path) -> Iterator[Process]:
    process = Process(bill)
    try:
        yield process
    finally:
        process.kill()


def n_outages(run: Run) -> int:
    return RunLine.objects.filter(run=run, text__startswith="The server does not answer").count()


def assert_no_charge_is_missing(project: Project, server: Process, n: int) -> None:
    """One settled entry an item; a call that was cut off is written off, so the ledger is never below the bill."""
    entries = LedgerEntry.objects.filter(budget__project=project)
    assert not entries.filter(state="reserved").exists()
    settled = entries.filter(state="settled")
    assert settled.values("item").distinct().count() == settled.count() == n
    n_cut_off = entries.filter(state="written_off").count()
    assert n <= server.n_charged() <= n + n_cut_off
    assert sum(server.charges()) <= sum(entry.final_micros or 0 for entry in entries)


def asking(stub: Stub | Process, folder: Path, n: int = 12) -> Project:
    """A project of `n` texts that asks the stub, at a price and below a cap."""
    owner = make_user("Sara", is_site_owner=True)
    project = make_project(by=owner, labels=("card", "transfer", "exchange"))
    rows = [{"id": str(place), "text": f"Where is the card number {place}?"} for place in range(n)]
    ingest.import_items(project=project, path=write_jsonl(folder / f"{project.slug}.jsonl", rows), by=owner)
    row = connections.create(
        name=f"Slow {project.pk}", base_url=stub.base_url, model="stub-1", allows_private=True, timeout_seconds=120,
        input_price_micros=stub.options.input_price, output_price_micros=stub.options.output_price, max_concurrency=4,
        by=owner,
    )  # fmt: skip
    connections.lend(connection=row, project=project, by=owner)
    connections.choose(project=project, connection=row, by=owner)
    budgets.set_cap(project=project, kind="machine", cap_micros=10**9, by=owner)
    return Project.objects.get(pk=project.pk)


def assert_asked_once(project: Project, stub: Stub, n: int = 12) -> None:
    """Each item has one answer, and the ledger says what the provider charges."""
    assert Prediction.objects.filter(item__project=project, status="ok").count() == n
    entries = LedgerEntry.objects.filter(budget__project=project)
    assert sum(entry.final_micros or 0 for entry in entries) == stub.bill().micros
    assert set(entries.values_list("state", flat=True)) <= {"settled", "released"}
