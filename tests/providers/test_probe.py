import time

import pytest

from annotate.providers.probe import probe
from tests.providers.conftest import KEY
from tests.stub_llm import stub_llm


class TestProbe:
    def test_it_finds_what_the_server_can_do(self, stub, endpoint):
        found = probe(endpoint())
        assert found.is_usable
        assert found.is_reachable
        assert found.n_alternatives == 20
        assert "probabilities of 20 alternatives" in found.sentence
        assert found.cost_micros == stub.bill().micros > 0

    def test_it_counts_the_alternatives_that_come(self, stub, endpoint):
        stub.change(max_alternatives=5)
        assert probe(endpoint()).n_alternatives == 5

    def test_it_sees_a_server_that_drops_the_field_silently(self, stub, endpoint):
        stub.change(faults={"no_logprobs": 1.0})
        found = probe(endpoint())
        assert (found.is_usable, found.n_alternatives) == (True, 0)
        assert "confidence will be unknown" in found.sentence

    def test_it_asks_again_with_less_where_the_request_is_rejected(self, stub, endpoint):
        stub.change(faults={"400": 1.0}, fault_attempts=2)
        found = probe(endpoint())
        assert (found.is_usable, found.n_alternatives) == (True, 0)
        assert stub.bill().n_requests == 3

    @pytest.mark.parametrize(
        ("fault", "sentence"),
        [
            ("401", "refuses the key"), ("404", "does not know this model"), ("500", "fault"), ("redirect", "redirect"),
            ("insufficient_quota", "quota"), ("refusal", "not with an option"), ("html", "not with an option"),
            ("400", "rejected"), ("drop_after", "broke"),
        ],
    )  # fmt: skip
    def test_it_says_what_is_wrong(self, stub, endpoint, fault, sentence):
        stub.change(faults={fault: 1.0})
        found = probe(endpoint())
        assert not found.is_usable
        assert sentence in found.sentence
        assert found.sentence.endswith(".")
        assert found.is_reachable == (fault != "drop_after")
        assert found.cost_micros >= stub.bill().micros
        assert KEY not in repr(found)

    def test_it_says_that_usage_is_missing(self, stub, endpoint):
        stub.change(faults={"usage_missing": 1.0})
        assert "highest price" in probe(endpoint()).sentence

    def test_it_ends_in_time(self, stub, endpoint):
        stub.change(faults={"timeout": 1.0})
        started = time.monotonic()
        assert not probe(endpoint(timeout_seconds=1.0)).is_usable
        assert time.monotonic() - started < 3

    def test_a_refused_address_is_a_sentence(self, endpoint):
        assert "private address" in probe(endpoint(allow_private=False)).sentence

    def test_nobody_there(self, endpoint):
        with stub_llm() as gone:
            address = gone.base_url
        found = probe(endpoint(base_url=address))
        assert (found.is_usable, found.is_reachable, found.cost_micros) == (False, False, 0)
