"""Requests counted by one machine: a burst, then evenly; exactly, whoever counts at the same moment."""

import multiprocessing
import sqlite3
import threading
from pathlib import Path

import pytest

from annotate.api.http import machine_counter
from annotate.api.http.rates import Rate

N_TRIES = 40


def passed(path: Path, key: str, rate: Rate, *moments: float) -> list[bool]:
    return [machine_counter.hit(path, key, rate, now=now) == 0 for now in moments]


def _try_often(path: Path, rate: Rate, results: "multiprocessing.Queue[int]") -> None:
    results.put(sum(passed(path, "a", rate, *[100.0] * N_TRIES)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "throttles"


def test_it_recovers_with_time_and_forgets_a_clock_that_was_set_back(path):
    assert passed(path, "a", Rate(1.0, 2), 100.0, 100.0, 100.0, 101.5, 50.0) == [True, True, False, True, True]


def test_it_says_how_long_to_wait(path):
    rate = Rate(0.1, 1)
    assert machine_counter.hit(path, "a", rate, now=100.0) == 0
    assert machine_counter.hit(path, "a", rate, now=103.0) == pytest.approx(7.0)


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


def test_a_file_that_is_no_database_is_said(tmp_path):
    (tmp_path / "throttles").write_bytes(b"x" * 5_000)
    with pytest.raises(sqlite3.DatabaseError):
        machine_counter.hit(tmp_path / "throttles", "a", Rate(1.0, 1))
