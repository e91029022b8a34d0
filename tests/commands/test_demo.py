"""`make demo` as a newcomer gets it: whole, twice, and still true."""

import json
import os

import pytest

from tests.processes import run_manage


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """(run a command in the demo's own folder, that folder)."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "VAR_DIR": str(folder), "FILES_DIR": str(folder / "files")}
    environment["DATABASE_URL"] = f"sqlite:///{folder / 'demo.sqlite3'}"

    def manage(*arguments):
        done = run_manage(*arguments, environment=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    manage("migrate", "--verbosity", "0")
    return manage, folder


def test_it_runs_the_loop_and_a_second_start_does_nothing_twice(demo):
    manage, folder = demo
    first = manage("demo")
    for step in ("import", "pre-label", "round 1", "round 2", "train", "estimate", "export", "round 3"):
        assert step in first
    before = json.loads(manage("status", "demo-banking", "--json"))
    exported = {path.name: path.read_bytes() for path in (folder / "exports" / "demo-banking").iterdir()}
    second = manage("demo")
    assert json.loads(manage("status", "demo-banking", "--json")) == before
    assert {path.name: path.read_bytes() for path in (folder / "exports" / "demo-banking").iterdir()} == exported
    table = [line for line in first.splitlines() if "after round" in line]
    assert table
    assert table == [line for line in second.splitlines() if "after round" in line]
    assert (before["n_answers"], before["n_waiting"]) == (300, 30)
    assert "simulated" in manage("status", "demo-banking")
    assert "everything holds" in manage("verify", "demo-banking", "--rebuild")
