"""A real server per test, and endpoints that point at it."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from annotate.providers import openai
from annotate.providers.openai import Attempted, Endpoint
from models_ml.llm import chat
from models_ml.llm.reading import Options
from models_ml.types import LabelSpec
from tests.stub_llm import Stub, stub_llm

LABELS = [
    LabelSpec("card_arrival", "A card that was ordered has not come."),
    LabelSpec("exchange_rate", "Asks at which rate currencies are exchanged."),
    LabelSpec("other", "Anything else."),
]
OPENING = chat.opening(LABELS)
NAMES = [label.name for label in LABELS]
OPTIONS = Options.of(NAMES)
KEY = "sk-canary-4f1d9b7ae2"


def messages(text: str = "Where is my card?") -> list[chat.Message]:
    return chat.messages(OPENING, (text,))


def attempt(endpoint, text="Where is my card?", options=OPTIONS) -> Attempted:
    async def go():
        async with openai.connection(endpoint) as server:
            return await openai.attempt(endpoint, server, key=7, messages=messages(text), options=options)

    return asyncio.run(go())[0]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with stub_llm(key=KEY) as running:
        yield running


@pytest.fixture
def endpoint(stub) -> Callable[..., Endpoint]:
    """The stub's endpoint with the stub's prices; anything can be said otherwise."""

    def build(**changes) -> Endpoint:
        given = {
            "base_url": stub.base_url,
            "model": "stub-1",
            "key": KEY,
            "allow_private": True,
            "input_price_micros_per_million": stub.options.input_price,
            "output_price_micros_per_million": stub.options.output_price,
            "timeout_seconds": 10.0,
        }
        return Endpoint(**(given | changes))

    return build
