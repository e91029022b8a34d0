"""Decides what one request to an OpenAI-compatible server may cost, what its answer means, and how the ledger books it.

One attempt at one item, without retries."""

import re
from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from enum import StrEnum
from time import monotonic
from typing import Any, Literal

import orjson
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import InvalidInput
from annotate.providers import outbound
from annotate.providers.outbound import (
    AddressRefused,
    ConnectionBroken,
    Hidden,
    NotSent,
    Outbound,
    OutcomeUnknown,
    Response,
    Trip,
)
from models_ml.llm import reading
from models_ml.llm.chat import Message
from models_ml.llm.reading import Options, Usage
from models_ml.types import Failure, FailureKind, Judgement

# A text has at most as many tokens as UTF-8 bytes: at worst a tokenizer falls back to bytes. These cover what servers
# put around a message (role, marks for begin and end) and before the first one (begin, a date).
_TOKENS_PER_MESSAGE = 16
_TOKENS_PER_REQUEST = 64
_MILLION = 1_000_000

_NO_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
_NO_SUCH_MODEL = {"model_not_found", "unsupported_model", "invalid_model"}
_BAD_SETTING = {"unsupported_parameter", "unsupported_value", "unknown_parameter", "invalid_parameter"}
_TOO_LONG = {"context_length_exceeded", "string_above_max_length"}
_FILTERED = {"content_filter", "content_policy_violation", "moderation_blocked"}

_SETTINGS = ("max_tokens", "max_completion_tokens", "temperature", "logprobs", "top_logprobs")

_STOPPING = {  # statuses that every other item would get too
    401: gettext_lazy("The server refuses the key."),
    402: gettext_lazy("The server wants payment: the account's balance is used up."),
    403: gettext_lazy("The server does not let this key use the model."),
    404: gettext_lazy("The server does not know this model, or the base address is not that of its API."),
    405: gettext_lazy("The base address is not that of a chat API."),
    422: gettext_lazy("The server does not take a setting of the request."),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model on one server, as a site owner registered it. Its repr leaves the key out.

    InvalidInput, without the key in it, if a value cannot work. The address is judged when connecting;
    outbound.base_problem judges its form for pages.
    """

    base_url: str  # up to and with /v1; /chat/completions is added
    model: str
    key: str = field(default="", repr=False)  # empty: no Authorization header (many local servers)
    allow_private: bool = False
    input_price_micros_per_million: int = 0  # per million tokens, as providers state it
    output_price_micros_per_million: int = 0
    timeout_seconds: float = 30.0  # for one attempt as a whole; a one-token answer takes about 1 s
    max_concurrency: int = 8
    requests_per_minute: int | None = None
    max_output_tokens: int = 4  # enough for an option and a blank; more only makes a talkative model cost more
    n_alternatives: int = 20  # wanted log-probabilities per token; 0 if the server refuses them
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # the latter: OpenAI's newer models
    temperature: float | None = 0.0  # None: not sent, for models that refuse it

    def __post_init__(self) -> None:
        if self.key and not re.fullmatch(r"[\x21-\x7e]+", self.key):  # else the header could be split
            raise InvalidInput(_("The key holds blanks or characters that no key has."))
        if not self.model.strip():
            raise InvalidInput(_("The model has no name."))
        if min(self.input_price_micros_per_million, self.output_price_micros_per_million) < 0:
            raise InvalidInput(_("A price is below 0."))
        counts = (self.max_concurrency, self.max_output_tokens, self.requests_per_minute or 1)
        if min(counts) < 1 or not self.timeout_seconds > 0 or not 0 <= self.n_alternatives <= 20:
            raise InvalidInput(_("A limit of the connection is out of its range."))


class Outcome(StrEnum):
    """How an attempt ended, which decides how its reservation ends (docs/invariants.md, I-4)."""

    ANSWERED = "answered"  # settled by its usage; written off if the usage is unknown
    NOT_SENT = "not_sent"  # released: provably nothing went out
    REJECTED = "rejected"  # released: turned away before it was processed (3xx, 4xx)
    UNKNOWN = "unknown"  # written off: it may have been processed and charged


@dataclass(frozen=True, slots=True)
class Attempted:
    """The result of one attempt. `reason` is a sentence for people, without the key, the item or the server's words.

    answer: a Judgement or a Failure to store; None if the attempt gave the item no answer.
    cost_micros: what the ledger must charge: the price of the usage; all of most_micros if usage or outcome are
    unknown; 0 if the reservation is released. An answer's own cost_micros is the same.
    """

    key: Hashable
    outcome: Outcome
    reason: str = ""
    answer: Judgement | Failure | None = None
    usage: Usage | None = None  # None: not reported, or impossible
    cost_micros: int = 0
    status: int | None = None
    retry_after: float | None = None  # seconds
    is_retryable: bool = False
    is_broken: bool = False  # the connection ended before the answer was complete
    is_recalled: bool = False  # the caller took it back before anything was sent
    stops_run: bool = False  # every other item would fail in the same way
    latency_seconds: float | None = None

    @property
    def is_settled(self) -> bool:
        return self.outcome is Outcome.ANSWERED and self.usage is not None

    @property
    def is_released(self) -> bool:
        return self.outcome in (Outcome.NOT_SENT, Outcome.REJECTED)


def most_input_tokens(messages: Sequence[Message]) -> int:
    """An upper bound of the number of tokens that the server counts for these messages."""
    n_bytes = sum(len(message["content"].encode()) + _TOKENS_PER_MESSAGE for message in messages)
    return n_bytes + _TOKENS_PER_REQUEST


def most_micros(endpoint: Endpoint, messages: Sequence[Message]) -> int:
    """The most that one attempt can cost: the amount to reserve before it is sent."""
    return cost_micros(endpoint, most_input_tokens(messages), endpoint.max_output_tokens)


def cost_micros(endpoint: Endpoint, n_input_tokens: int, n_output_tokens: int) -> int:
    """The price of these tokens, rounded up to whole micro-units."""
    total = n_input_tokens * endpoint.input_price_micros_per_million
    total += n_output_tokens * endpoint.output_price_micros_per_million
    return -(-total // _MILLION)


def connection(endpoint: Endpoint) -> AbstractAsyncContextManager[Outbound]:
    """Connections to the endpoint's server, with its key."""
    return outbound.opened(
        endpoint.base_url,
        allow_private=endpoint.allow_private,
        headers=Hidden({"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}),
        max_connections=endpoint.max_concurrency,
    )


def request_body(endpoint: Endpoint, messages: Sequence[Message]) -> bytes:
    """The JSON body: temperature 0 unless refused, few output tokens, and log-probabilities unless refused."""
    body: dict[str, Any] = {"model": endpoint.model, "messages": list(messages), "stream": False}
    body[endpoint.limit_name] = endpoint.max_output_tokens
    if endpoint.temperature is not None:
        body["temperature"] = endpoint.temperature
    if endpoint.n_alternatives:
        body |= {"logprobs": True, "top_logprobs": endpoint.n_alternatives}
    return orjson.dumps(body)


async def attempt(
    endpoint: Endpoint,
    server: Outbound,
    *,
    key: Hashable,
    messages: Sequence[Message],
    options: Options,
    trip: Trip | None = None,
) -> tuple[Attempted, Any]:
    """Send one request; returns the result, and the parsed response (None if there is none).

    Raises only CancelledError; `trip.is_connected` then says whether the reservation must be written off.
    """
    started = monotonic()
    most = most_micros(endpoint, messages)
    trip, response = trip or Trip(), None
    try:
        answered = await server.post(
            "/chat/completions", request_body(endpoint, messages), total_seconds=endpoint.timeout_seconds, trip=trip
        )
        response = _parsed(answered.body)
        result = _meaning(endpoint, key, messages, options, answered, response)
    except AddressRefused as error:
        result = Attempted(key, Outcome.NOT_SENT, str(error), stops_run=True)
    except NotSent as error:
        result = Attempted(key, Outcome.NOT_SENT, str(error), is_retryable=True)
    except OutcomeUnknown as error:
        is_broken = isinstance(error, ConnectionBroken)
        result = Attempted(key, Outcome.UNKNOWN, str(error), cost_micros=most, is_retryable=True, is_broken=is_broken)
    except Exception as error:  # a bug here must neither lose this attempt's result nor stop the other attempts
        result = lost(key, trip, most, f"The attempt failed by an error of its own ({type(error).__name__}).")
    return replace(result, latency_seconds=monotonic() - started), response


def lost(key: Hashable, trip: Trip, most: int, reason: str) -> Attempted:
    """The result of an attempt that was broken off on our side: written off if the server may have got the request."""
    if trip.is_connected:
        return Attempted(key, Outcome.UNKNOWN, reason, cost_micros=most)
    return Attempted(key, Outcome.NOT_SENT, reason)


def _meaning(
    endpoint: Endpoint,
    key: Hashable,
    messages: Sequence[Message],
    options: Options,
    answered: Response,
    response: Any,
) -> Attempted:
    status = answered.status
    if 200 <= status < 300:
        return _answered(endpoint, key, messages, options, status, response)
    if 300 <= status < 500:
        result = _rejected(key, status, response)
    else:  # a 5xx may come after the model was paid for
        most, reason = (
            most_micros(endpoint, messages),
            _("The server had a fault (HTTP %(status)s).") % {"status": status},
        )
        result = Attempted(key, Outcome.UNKNOWN, reason, cost_micros=most, status=status, is_retryable=True)
    return replace(result, retry_after=retry_after(answered.headers))


def _answered(
    endpoint: Endpoint, key: Hashable, messages: Sequence[Message], options: Options, status: int, response: Any
) -> Attempted:
    most_input, most_output = most_input_tokens(messages), endpoint.max_output_tokens
    used = reading.usage(response, most_input=most_input, most_output=most_output)
    n_in, n_out = (used.n_input_tokens, used.n_output_tokens) if used else (None, None)
    cost = cost_micros(endpoint, used.n_input_tokens, used.n_output_tokens) if used else most_micros(endpoint, messages)
    read = reading.read(response, options, endpoint.key)  # some servers echo what they were sent, the key included
    answer = replace(read, n_input_tokens=n_in, n_output_tokens=n_out, cost_micros=cost)
    reason = answer.message if isinstance(answer, Failure) else ""
    return Attempted(key, Outcome.ANSWERED, reason, answer, used, cost, status)


def _rejected(key: Hashable, status: int, response: Any) -> Attempted:
    """The result for status 3xx or 4xx: an answer about this item, a reason to stop the run, or a reason to retry."""
    codes = _error_codes(response)
    rejected = Attempted(
        key,
        Outcome.REJECTED,
        _("The server rejected the request (HTTP %(status)s).") % {"status": status},
        status=status,
    )
    if status < 400:
        reason = _(
            "The server answers with a redirect (HTTP %(status)s), which is never followed: the key stays here."
        ) % {"status": status}
        return replace(rejected, reason=reason, stops_run=True)
    if codes & _NO_QUOTA:
        return replace(rejected, reason="The account's quota at the server is used up.", stops_run=True)
    if codes & _TOO_LONG or status == 413:
        message = _("The item does not fit into what the model reads at once.")
        return replace(rejected, reason=message, answer=Failure(FailureKind.TOO_LONG, message, None, None, 0))
    if codes & _FILTERED:
        message = _("A content filter of the server declined the item.")
        return replace(rejected, reason=message, answer=Failure(FailureKind.REFUSAL, message, None, None, 0))
    if codes & _NO_SUCH_MODEL:
        return replace(rejected, reason=str(_STOPPING[404]), stops_run=True)
    if codes & _BAD_SETTING:
        return replace(rejected, reason=_refused_setting(response), stops_run=True)
    if status in _STOPPING:
        return replace(rejected, reason=str(_STOPPING[status]), stops_run=True)
    if status == 429:
        return replace(rejected, reason=_("The server is asked too often (HTTP 429)."), is_retryable=True)
    return replace(rejected, is_retryable=status in (408, 409, 425))


def _error_codes(response: Any) -> set[str]:
    """`code` and `type` of an OpenAI error object, also where they stand at the top level (as vLLM had them)."""
    if not isinstance(response, dict):
        return set()
    error = response.get("error")
    words = [part.get(name) for part in (error, response) if isinstance(part, dict) for name in ("code", "type")]
    return {word for word in words if isinstance(word, str)}


def _refused_setting(response: Any) -> str:
    """The sentence about a refused setting, with its name if the server names one of _SETTINGS."""
    error = response.get("error")
    name = error.get("param") if isinstance(error, dict) else None
    if name in _SETTINGS:
        return _("The server does not take the setting %(name)s.") % {"name": name}
    return str(_STOPPING[422])


def _parsed(body: bytes | None) -> Any:
    try:
        return orjson.loads(body) if body is not None else None
    except orjson.JSONDecodeError:
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait (Retry-After, RFC 9110 10.2.3, or OpenAI's header in ms); None: not said."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text := headers.get(name, "").strip()):
            return float(text) * scale
    try:  # a date, compared with the server's own clock
        until = parsedate_to_datetime(headers["retry-after"])
        return max(0.0, (until - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
