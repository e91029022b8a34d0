"""Requests counted in rows: a burst, then evenly; exactly, whoever counts at the same moment."""

import multiprocessing
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection, connections

from annotate import tasks
from annotate.accounts import rate_rows, rates
from annotate.accounts.rate_rows import CannotCount
from annotate.accounts.rates import Rate

N_TRIES = 40


def passed(path: Path, key: str, rate: Rate, *moments: float) -> list[bool]:
    return [waits(path, key, rate, now) == 0 for now in moments]


def waits(path: Path, key: str, rate: Rate, now: float) -> float:
    return rate_rows.hit_file(path, key, rate.gap, rate.burst, now=now)


def _try_often(path: Path, rate: Rate, results: "multiprocessing.Queue[int]") -> None:
    results.put(sum(passed(path, "a", rate, *[100.0] * N_TRIES)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "throttles"


def test_it_recovers_with_time_and_forgets_a_clock_that_was_set_back(path):
    assert passed(path, "a", Rate(1.0, 2), 100.0, 100.0, 100.0, 101.5, 50.0) == [True, True, False, True, True]


def test_it_says_how_long_to_wait(path):
    rate = Rate(0.1, 1)
    assert waits(path, "a", rate, 100.0) == 0
    assert waits(path, "a", rate, 103.0) == pytest.approx(7.0)


def test_each_key_has_its_own(path):
    assert passed(path, "a", Rate(0.1, 1), 100.0) == passed(path, "b", Rate(0.1, 1), 100.0) == [True]


def test_what_was_refused_does_not_count(path):
    rate = Rate(1.0, 1)
    assert passed(path, "a", rate, 100.0, 100.2, 100.4, 100.6, 100.8, 101.0) == [True, *[False] * 4, True]


def test_requests_that_come_evenly_all_pass(path):
    assert all(passed(path, "a", Rate(4.0, 1), *(100 + place / 4 for place in range(40))))


def test_of_many_threads_exactly_the_burst_passes(path):
    started, results = threading.Barrier(8), []

    def try_often() -> None:
        started.wait()
        results.append(sum(passed(path, "a", Rate(0.001, 25), *[100.0] * N_TRIES)))

    threads = [threading.Thread(target=try_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == 25


def test_of_many_processes_exactly_the_burst_passes(path):
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[int] = context.Queue()
    others = [context.Process(target=_try_often, args=(path, Rate(0.001, 25), results)) for _ in range(4)]
    for process in others:
        process.start()
    counts = [results.get(timeout=60) for _ in others]
    for process in others:
        process.join()
    assert sum(counts) == 25


def test_a_file_that_is_no_database_is_made_anew(path):
    """As a power failure may leave it: the limits begin again."""
    path.parent.mkdir()
    path.write_bytes(b"x" * 5_000)
    with pytest.raises(CannotCount):
        waits(path, "a", Rate(1.0, 1), 100.0)
    assert passed(path, "a", Rate(1.0, 1), 100.0, 100.0) == [True, False]


def test_nothing_of_it_is_mapped_into_memory(path):
    """A mapped page for which the disk has no room would end the process."""
    passed(path, "a", Rate(1.0, 1), 100.0)
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}-journal"}
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_a_disk_that_takes_nothing_is_said_and_forgotten_once_it_does(path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(CannotCount):
            waits(path, "a", Rate(1.0, 1), 100.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert passed(path, "a", Rate(1.0, 1), 100.0, 100.0) == [True, False]


@pytest.mark.django_db
class TestWhereTheSiteCounts:
    """The same by the row of the database in use: its own table on PostgreSQL, a file beside it on SQLite."""

    @pytest.fixture(autouse=True)
    def file(self, settings, path):
        settings.API_RATES_FILE = path

    @pytest.fixture
    def key(self, request) -> str:
        return request.node.nodeid

    def test_a_burst_passes_and_what_is_more_waits(self, key):
        first, second, third, fourth = (rates.hit(key, Rate(0.1, 3)) for _ in range(4))
        assert (first, second, third) == (0, 0, 0)
        assert fourth == pytest.approx(10, abs=3)

    def test_it_recovers(self, key):
        assert [rates.hit(key, Rate(100_000.0, 1)) for _ in range(3)] == [0, 0, 0]

    def test_another_rate_is_no_lock(self, key):
        """What lies further ahead than a burst can reach is as good as nothing."""
        assert [rates.hit(key, Rate(0.001, 1)), rates.hit(key, Rate(1.0, 1))] == [0, 0]

    def test_rows_of_those_who_may_ask_again_are_cleared_away(self, key):
        rates.hit(key, Rate(100_000.0, 1))
        rates.hit(f"{key} again", Rate(0.001, 1))
        tasks.hourly_cleanup()
        assert key not in self.keys()
        assert f"{key} again" in self.keys()

    def keys(self) -> set[str]:
        if connection.vendor == "sqlite":
            return rate_rows._with_file(
                rate_rows._path(), lambda file: {row[0] for row in file.execute("SELECT key FROM due")}
            )
        with connection.cursor() as cursor:
            cursor.execute("SELECT key FROM annotate_requestrate")
            return {row[0] for row in cursor.fetchall()}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
def test_of_many_with_connections_of_their_own_exactly_the_burst_passes(settings, path, request):
    settings.API_RATES_FILE = path

    def try_often(_: int) -> int:
        try:
            return sum(rates.hit(request.node.nodeid, Rate(0.001, 25)) == 0 for _ in range(N_TRIES))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_often, range(8))) == 25
