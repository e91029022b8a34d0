"""Requests counted in a real Redis: exactly, for all who ask it, and without it as if there were none."""

import threading

import pytest

from annotate.accounts import rate_redis, rate_rows
from annotate.accounts.rates import Rate
from tests import services
from tests.api.http.test_endpoint import is_problem


def hit(url: str, key: str, rate: Rate) -> float | None:
    return rate_redis.hit(url, key, rate.per_window, rate.window_seconds)


NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def nothing_is_known_of_any_redis():
    """As in a new process; addresses come again in other tests."""
    rate_redis._counter.cache_clear()
    yield
    rate_redis._counter.cache_clear()


@pytest.fixture
def key(request) -> str:
    """Of this test alone: the server is everybody's."""
    return request.node.nodeid


@pytest.fixture
def frozen_clock(monkeypatch):
    """The clock of what asks Redis: set, never run."""
    clock = {"now": 1_000_000.0}
    monkeypatch.setattr("time.time", lambda: clock["now"])
    return clock


@pytest.mark.parametrize(
    ("rate", "window", "n"),
    [((50.0, 100), 2, 100), ((20.0, 60), 3, 60), ((0.1, 3), 30, 3), ((50.0, 10), 1, 50), ((3.0, 4), 2, 6)],
)
def test_a_window_holds_the_burst_and_no_less_than_the_rate(rate, window, n):
    assert (Rate(*rate).window_seconds, Rate(*rate).per_window) == (window, n)


def test_a_burst_passes_and_what_is_more_waits_for_the_window(redis_server, key, frozen_clock):
    rate = Rate(0.5, 3)
    assert [hit(redis_server.url, key, rate) for _ in range(3)] == [0, 0, 0]
    frozen_clock["now"] += 2
    assert hit(redis_server.url, key, rate) == pytest.approx(4.0)
    frozen_clock["now"] += 4.1
    assert hit(redis_server.url, key, rate) == 0


def test_of_many_at_once_exactly_the_burst_passes(redis_server, key):
    """Each thread with a connection of its own, as processes and machines have."""
    started, results = threading.Barrier(8), []

    def try_often() -> None:
        counter = rate_redis._Counter(redis_server.url)
        started.wait()
        results.append([counter.hit(key, 25, 2_500) for _ in range(20)])

    threads = [threading.Thread(target=try_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waits = [wait for each in results for wait in each]
    assert None not in waits
    assert waits.count(0.0) == 25


def test_a_redis_that_is_gone_is_left_alone_for_a_while(key, caplog, monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    counter = rate_redis._Counter(NOBODY)
    assert [counter.hit(key, 1, 1) for _ in range(3)] == [None, None, None]
    assert len(caplog.records) == 1
    now = 106.0
    assert counter.hit(key, 1, 1) is None
    assert len(caplog.records) == 2


@pytest.mark.django_db
class TestTheApi:
    @pytest.fixture(autouse=True)
    def limits(self, settings) -> None:
        settings.API_THROTTLES = {"request": (0.1, 3), "submit": (0.1, 1)}

    def test_it_counts_in_redis(self, olga, settings, redis_server, monkeypatch):
        monkeypatch.setattr(rate_rows, "hit", lambda *args: pytest.fail("rows counted"))
        settings.REDIS_URL = redis_server.url
        assert [olga.get("").status_code for _ in range(4)] == [200, 200, 200, 429]
        response = olga.get("")
        assert is_problem(response, 429)
        assert 25 <= int(response.headers["Retry-After"]) <= 31

    def test_without_redis_rows_count(self, olga, settings):
        settings.REDIS_URL = NOBODY
        assert [olga.get("").status_code for _ in range(4)] == [200, 200, 200, 429]
        assert is_problem(olga.get(""), 429)

    def test_without_redis_what_costs_money_is_done(self, olga, settings):
        settings.REDIS_URL = NOBODY
        assert olga.post("budgets/machine/stop").status_code == 200
        assert olga.post("budgets/machine/resume").status_code == 200  # 503 where nobody counts

    def test_a_redis_that_dies_takes_nothing_down(self, olga, settings):
        with services.running(services.Redis) as server:
            settings.REDIS_URL = server.url
            assert olga.get("").status_code == 200
            server.kill()
            assert olga.get("").status_code == 200

    def test_a_redis_that_hangs_is_asked_once(self, olga, settings, caplog, monkeypatch):
        monkeypatch.setattr(rate_redis, "_PAUSE_SECONDS", 600.0)
        with services.running(services.Redis) as server:
            settings.REDIS_URL = server.url
            assert olga.get("").status_code == 200
            with server.frozen():
                assert [olga.get("").status_code for _ in range(3)] == [200, 200, 200]
        assert len([one for one in caplog.records if one.name == rate_redis.__name__]) == 1
