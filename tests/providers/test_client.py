"""Many attempts at once against a real server: one result each, whatever happens."""

import threading
import time

import pytest

from annotate.errors import Conflict
from annotate.providers import openai
from annotate.providers.client import Client
from annotate.providers.openai import Outcome
from annotate.providers.outbound import AddressRefused
from models_ml.types import Failure, Judgement
from tests.providers.conftest import NAMES, messages

FAULTS = {
    "429": 0.05, "429_retry_after": 0.02, "500": 0.05, "503": 0.05, "timeout": 0.01, "drop_before": 0.05,
    "drop_after": 0.05, "slow_drip": 0.01, "cut_json": 0.05, "wrong_schema": 0.05, "usage_missing": 0.05,
    "usage_huge": 0.05, "refusal": 0.05, "unknown_label": 0.05, "truncated": 0.05, "no_logprobs": 0.05, "huge": 0.01,
}  # fmt: skip


def ask_all(client, n):
    """Submit n items as fast as there is room, and fetch all results."""
    found, sent = [], 0
    while len(found) < n:
        while sent < n and client.n_free:
            client.submit(sent, messages(f"Item {sent}"))
            sent += 1
        found += client.results(timeout=20)
    return found


class TestClient:
    def test_it_gives_one_result_per_submission(self, stub, endpoint):
        with Client(endpoint(max_concurrency=8), labels=NAMES) as client:
            found = ask_all(client, 60)
        assert sorted(attempted.key for attempted in found) == list(range(60))
        assert all(isinstance(attempted.answer, Judgement) for attempted in found)
        assert sum(attempted.cost_micros for attempted in found) == stub.bill().micros

    def test_it_keeps_within_its_concurrency(self, stub, endpoint):
        stub.change(latency_seconds=0.05)
        with Client(endpoint(max_concurrency=3), labels=NAMES) as client:
            ask_all(client, 12)
        assert stub.bill().most_at_once == 3

    def test_it_keeps_its_pace(self, endpoint):
        with Client(endpoint(requests_per_minute=1200), labels=NAMES) as client:
            started = time.monotonic()
            ask_all(client, 11)
            assert time.monotonic() - started >= 0.5

    def test_when_told_to_wait_all_wait(self, stub, endpoint):
        stub.change(faults={"429_retry_after": 1.0}, fault_attempts=1)
        with Client(endpoint(max_concurrency=1), labels=NAMES) as client:
            started = time.monotonic()
            ask_all(client, 2)
            assert time.monotonic() - started >= 1

    def test_it_takes_no_more_than_it_has_room_for(self, stub, endpoint):
        stub.change(latency_seconds=0.2)
        with Client(endpoint(max_concurrency=2), labels=NAMES) as client:
            for n in range(4):
                client.submit(n, messages())
            assert client.n_free == 0
            with pytest.raises(Conflict, match="fetch results"):
                client.submit(4, messages())
            assert client.results(timeout=5)
            assert client.n_free > 0

    def test_what_was_not_sent_can_be_taken_back(self, stub, endpoint):
        stub.change(latency_seconds=0.5)
        with Client(endpoint(max_concurrency=2), labels=NAMES) as client:
            for n in range(4):
                client.submit(n, messages(f"Item {n}"))
            while stub.bill().n_requests < 2:
                pass
            client.recall()
            found = []
            while len(found) < 4:
                found += client.results(timeout=5)
            client.submit(4, messages())
            assert client.results(timeout=5)[0].outcome is Outcome.ANSWERED
        assert {one.key: (one.is_recalled, one.outcome) for one in found} == {
            0: (False, Outcome.ANSWERED), 1: (False, Outcome.ANSWERED),
            2: (True, Outcome.NOT_SENT), 3: (True, Outcome.NOT_SENT),
        }  # fmt: skip
        assert stub.bill().n_requests == 3

    def test_with_nothing_out_it_does_not_wait(self, endpoint):
        with Client(endpoint(), labels=NAMES) as client:
            started = time.monotonic()
            assert client.results(timeout=5) == []
            assert time.monotonic() - started < 1

    def test_it_refuses_an_address_at_once(self, endpoint):
        with pytest.raises(AddressRefused):
            Client(endpoint(allow_private=False), labels=NAMES)

    @pytest.mark.parametrize("seed", range(3))
    def test_under_all_faults_the_books_cover_the_bill(self, stub, endpoint, seed):
        """Settled and written off together are never less than what the server charged, item by item."""
        stub.change(faults=FAULTS, seed=seed, retry_after=0.01)
        with Client(endpoint(timeout_seconds=1.0, max_concurrency=16), labels=NAMES) as client:
            found = ask_all(client, 200)
        assert sorted(attempted.key for attempted in found) == list(range(200))
        assert sum(attempted.cost_micros for attempted in found) >= stub.bill().micros > 0
        assert len(stub.bill().faults) > 10
        assert all(attempted.cost_micros == 0 for attempted in found if attempted.is_released)
        assert {type(attempted.answer) for attempted in found} == {Judgement, Failure, type(None)}


class TestClose:
    def test_what_is_on_its_way_is_broken_off_and_written_off(self, stub, endpoint):
        stub.change(faults={"timeout": 1.0})
        connection = endpoint(max_concurrency=2, timeout_seconds=60)
        client = Client(connection, labels=NAMES)
        for n in range(4):
            client.submit(n, messages(f"Item {n}"))
        while stub.bill().n_requests < 2:
            time.sleep(0.01)
        started = time.monotonic()
        client.close()
        assert time.monotonic() - started < 2
        found = {attempted.key: attempted for attempted in client.results(0)}
        assert {key: attempted.outcome for key, attempted in found.items()} == {
            0: Outcome.UNKNOWN, 1: Outcome.UNKNOWN, 2: Outcome.NOT_SENT, 3: Outcome.NOT_SENT,
        }  # fmt: skip
        assert found[0].cost_micros == openai.most_micros(connection, messages("Item 0"))
        assert found[2].cost_micros == 0
        assert not any(attempted.is_retryable for attempted in found.values())

    def test_what_was_submitted_a_moment_before_has_its_result(self, endpoint):
        client = Client(endpoint(), labels=NAMES)
        for n in range(10):
            client.submit(n, messages())
        client.close()
        assert sorted(attempted.key for attempted in client.results(0)) == list(range(10))

    def test_after_it_nothing_is_taken(self, endpoint):
        client = Client(endpoint(), labels=NAMES)
        client.close()
        client.close()
        with pytest.raises(Conflict, match="closed"):
            client.submit(1, messages())

    def test_another_thread_may_close_while_results_are_awaited(self, stub, endpoint):
        stub.change(faults={"timeout": 1.0})
        client = Client(endpoint(timeout_seconds=60), labels=NAMES)
        client.submit(1, messages())
        threading.Timer(0.3, client.close).start()
        started = time.monotonic()
        assert len(client.results(timeout=30)) == 1
        assert time.monotonic() - started < 5

    def test_its_thread_ends(self, endpoint):
        with Client(endpoint(), labels=NAMES) as client:
            assert client._thread.is_alive()
        assert not client._thread.is_alive()
