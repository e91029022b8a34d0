"""The "test connection" button: does the model answer, with probabilities, how fast, at what price?"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

from annotate.providers import openai
from annotate.providers.openai import Attempted, Endpoint, Outcome
from annotate.providers.outbound import AddressRefused
from models_ml.llm import chat, reading
from models_ml.llm.chat import Message
from models_ml.types import Judgement, LabelSpec

MOST_SECONDS = 10.0
_LABELS = (LabelSpec("colour", "A colour."), LabelSpec("animal", "An animal."))
_ITEM = ("yellow",)
_CODES = chat.codes(len(_LABELS))


@dataclass(frozen=True, slots=True)
class Probe:
    """What one to three small questions showed. `sentence` says it to people, without the key or the server's words."""

    is_usable: bool  # it answered with an option
    sentence: str
    is_reachable: bool = False  # an HTTP answer came, whatever it was
    n_alternatives: int = 0  # what to register the endpoint with; 0: no probabilities, labels alone
    latency_seconds: float | None = None
    cost_micros: int = 0  # of all questions, the most where the server does not say


def probe(endpoint: Endpoint) -> Probe:
    """Ask once, and where that is rejected again with fewer alternatives, then with none; at most 10 s in all."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_probe(endpoint))
    except AddressRefused as error:
        return Probe(False, str(error))
    finally:
        loop.close()  # unlike asyncio.run this does not wait for a name that is still being looked up


def cost_most_micros(endpoint: Endpoint) -> int:
    """What testing the connection can cost at most."""
    return len(_numbers(endpoint)) * openai.most_micros(endpoint, _messages())


async def _probe(endpoint: Endpoint) -> Probe:
    ends, cost = monotonic() + min(endpoint.timeout_seconds, MOST_SECONDS), 0
    for n in _numbers(endpoint):
        attempted, response = await _asked(replace(endpoint, n_alternatives=n), ends)
        cost += attempted.cost_micros
        if attempted.status not in (400, 422) or monotonic() > ends:  # else it may be the log-probabilities
            break
    return replace(_told(attempted, response), cost_micros=cost)


def _numbers(endpoint: Endpoint) -> list[int]:
    """How many alternatives to try: as registered, then as few as some servers allow at most (TGI: 5), then none."""
    return [endpoint.n_alternatives, *(n for n in (5, 0) if n < endpoint.n_alternatives)]


async def _asked(endpoint: Endpoint, ends: float) -> tuple[Attempted, object]:
    limited = replace(endpoint, timeout_seconds=max(ends - monotonic(), 0.1))
    async with openai.connection(limited) as server:
        return await openai.attempt(limited, server, key=None, messages=_messages(), codes=_CODES)


def _messages() -> Sequence[Message]:
    return chat.messages(chat.opening(_LABELS), _ITEM)


def _told(attempted: Attempted, response: object) -> Probe:
    is_reachable = attempted.status is not None
    if attempted.outcome is not Outcome.ANSWERED:
        return Probe(False, attempted.reason, is_reachable, 0, attempted.latency_seconds)
    if not isinstance(attempted.answer, Judgement):
        sentence = f"The server answers, but not with an option: {attempted.reason}"
        return Probe(False, sentence, True, 0, attempted.latency_seconds)
    n = reading.n_alternatives(response) if attempted.answer.probabilities is not None else 0
    return Probe(True, _sentence(attempted, n), True, n, attempted.latency_seconds)


def _sentence(attempted: Attempted, n_alternatives: int) -> str:
    seconds = attempted.latency_seconds or 0.0
    sentence = f"The model answers in {seconds:.1f} s"
    if n_alternatives:
        sentence += f", with the probabilities of {n_alternatives} alternatives."
    else:
        sentence += ", without usable probabilities: its confidence will be unknown."
    if attempted.usage is None:
        sentence += " It does not say how many tokens it used, so every call is booked at its highest price."
    return sentence
