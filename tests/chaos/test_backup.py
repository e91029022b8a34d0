"""A backup by the command while twenty people label over HTTP, killed once, and the site served elsewhere from it."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from benchmarks.site import ROOT, Site
from benchmarks.web_people import Crowd
from tests import services
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_PEOPLE, _ITEMS = 20, 3_000


@pytest.fixture
def databases(request) -> Iterator[list[dict[str, str]]]:
    """The variables of two sites: of an empty database each, of the same kind."""
    if request.param == "sqlite":
        yield [{}, {}]
        return
    with services.running(partial(services.PostgreSQL, durable=True)) as server:
        yield [{"DATABASE_URL": services.create_database(server.url)} for _ in range(2)]


def killed(site: Site, archive: Path, point: str) -> None:
    """A backup that is killed there by kill -9."""
    marks = archive.parent / "marks"
    marks.mkdir(exist_ok=True)
    chaos = {"CHAOS_POINTS": f"{point}:1", "CHAOS_MARKS": str(marks)}
    words = [sys.executable, "manage.py", "backup", str(archive)]
    done = subprocess.run(words, cwd=ROOT, env=site.environment | chaos, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("databases", ["sqlite", "postgresql"], indirect=True)
def test_a_site_in_use_goes_on_elsewhere(databases, tmp_path):
    for name in ("here", "there", "backups"):
        (tmp_path / name).mkdir()
    here, there = (Site(tmp_path / name, **of) for name, of in zip(("here", "there"), databases, strict=True))
    archive = tmp_path / "backups" / "site.tar.gz"
    here.manage("migrate", "--verbosity", "0")
    words = ("--items", _ITEMS, "--round", _ITEMS, "--users", _PEOPLE, "--overlap", 2)
    made = json.loads(here.python("-m", "benchmarks.web_project", "make", *words))
    crowd = Crowd(here.url, made, think=0.2, until_empty=True)
    with here.served():
        working = threading.Thread(target=crowd.work, kwargs={"warm": 0.0, "seconds": 600})
        working.start()
        wait_until(lambda: len(crowd.acknowledged) >= 2 * _PEOPLE)
        killed(here, archive, "backup.dumped")
        killed(here, archive, "backup.written")
        assert not archive.exists()
        before = list(crowd.acknowledged)
        here.manage("backup", archive)
        n_after = len(crowd.acknowledged)
        wait_until(lambda: len(crowd.acknowledged) > n_after)
        crowd.stopped.set()
        working.join(60)
    assert n_after > len(before)  # they labeled while it was taken
    assert crowd.errors == []
    assert sorted(path.name for path in archive.parent.iterdir()) == ["marks", archive.name]

    there.manage("restore", "--check", archive)
    assert "everything that was checked holds" in there.manage("restore", archive)
    acknowledged = tmp_path / "acknowledged.txt"
    acknowledged.write_text("\n".join(before))
    checked = json.loads(there.python("-m", "benchmarks.web_project", "check", "--acknowledged", acknowledged))
    assert checked == {"duplicates": 0, "over_assigned": 0, "lost": 0}
    with there.served():
        wait_until(lambda: "no mail is sent" in there.said())
    assert "mail is sent again" in there.manage("restore", "--confirm")
