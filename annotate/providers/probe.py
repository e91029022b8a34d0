"""Decides whether an endpoint is usable (the button "test connection"): it is asked one to three small questions."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.providers import openai
from annotate.providers.openai import Attempted, Endpoint, Outcome
from annotate.providers.outbound import AddressRefused
from models_ml.llm import chat, reading
from models_ml.llm.chat import Message
from models_ml.types import Judgement, LabelSpec

MOST_SECONDS = 10.0
_LABELS = (LabelSpec("colour", "A colour."), LabelSpec("animal", "An animal."))
_ITEM = ("yellow",)
_OPTIONS = reading.Options.of([label.name for label in _LABELS])


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of testing a connection. `sentence` tells it to people, without the key or the server's words."""

    is_usable: bool  # the model answered with one of the options
    sentence: str
    is_reachable: bool = False  # an HTTP response came, whatever its status
    n_alternatives: int = 0  # to register the endpoint with; 0: it gives labels without probabilities
    latency_seconds: float | None = None
    cost_micros: int = 0  # of all questions; the most possible if the server reports no usage


def probe(endpoint: Endpoint) -> Probe:
    """Ask once; if the request is rejected, ask again with fewer alternatives, then with none. At most 10 s in all."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_probe(endpoint))
    except AddressRefused as error:
        return Probe(False, str(error))
    finally:
        loop.close()  # unlike asyncio.run this does not wait for a DNS lookup in progress


async def _probe(endpoint: Endpoint) -> Probe:
    ends, cost = monotonic() + min(endpoint.timeout_seconds, MOST_SECONDS), 0
    for n in _numbers(endpoint):
        attempted, response = await _asked(replace(endpoint, n_alternatives=n), ends)
        cost += attempted.cost_micros
        if attempted.status not in (400, 422) or monotonic() > ends:  # 400 and 422 may be about the log-probabilities
            break
    return replace(_told(attempted, response), cost_micros=cost)


def _numbers(endpoint: Endpoint) -> list[int]:
    """Numbers of alternatives to try: the registered one, then 5 (the most that TGI allows), then 0."""
    return [endpoint.n_alternatives, *(n for n in (5, 0) if n < endpoint.n_alternatives)]


async def _asked(endpoint: Endpoint, ends: float) -> tuple[Attempted, object]:
    limited = replace(endpoint, timeout_seconds=max(ends - monotonic(), 0.1))
    async with openai.connection(limited) as server:
        return await openai.attempt(limited, server, key=None, messages=_messages(), options=_OPTIONS)


def _messages() -> Sequence[Message]:
    return chat.messages(chat.opening(_LABELS), _ITEM)


def _told(attempted: Attempted, response: object) -> Probe:
    is_reachable = attempted.status is not None
    if attempted.outcome is not Outcome.ANSWERED:
        return Probe(False, attempted.reason, is_reachable, 0, attempted.latency_seconds)
    if not isinstance(attempted.answer, Judgement):
        sentence = _("The server answers, but not with an option: %(reason)s") % {"reason": attempted.reason}
        return Probe(False, sentence, True, 0, attempted.latency_seconds)
    n = reading.n_alternatives(response) if attempted.answer.probabilities is not None else 0
    return Probe(True, _sentence(attempted, n), True, n, attempted.latency_seconds)


def _sentence(attempted: Attempted, n_alternatives: int) -> str:
    names = {"seconds": f"{attempted.latency_seconds or 0.0:.1f}", "n": n_alternatives}
    if n_alternatives:
        sentence = ngettext(
            "The model answers in %(seconds)s s, with the probability of %(n)s alternative.",
            "The model answers in %(seconds)s s, with the probabilities of %(n)s alternatives.",
            n_alternatives,
        )
    else:
        sentence = _(
            "The model answers in %(seconds)s s, without usable probabilities: its confidence will be unknown."
        )
    if attempted.usage is not None:
        return sentence % names
    booked = _("It does not say how many tokens it used, so every call is booked at its highest price.")
    return f"{sentence % names} {booked}"
