"""What a chat completion says: one of the options, or why not. Never the nearest match, never an invented number.

The response comes from outside and may have any shape; whatever it is, reading it gives a Judgement or a Failure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models_ml.arrays import Vectors
from models_ml.types import Failure, FailureKind, Judgement

# A vector is given although options are missing from the server's list if all of them together can have at most
# this share of the options' probability: less than calibration on a few hundred items could ever see.
_MISSING_SHARE = 0.01
_SLACK = 1e-3  # servers round: a log-probability this much above 0, or a sum this much above 1, is still believed
_SENTINEL = -9999.0  # "very unlikely" with OpenAI, "masked" with vLLM: not a number to compute with
_TOKENIZER_BLANKS = "\u2581\u0120\u010a"  # how SentencePiece and byte-level BPE write blank and line end


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them, within what the request could possibly use."""

    n_input_tokens: int
    n_output_tokens: int


def usage(response: Any, *, most_input: int, most_output: int) -> Usage | None:
    """The tokens to pay for; None where they are missing or cannot be true, so that nothing is settled by them."""
    counts = response.get("usage") if isinstance(response, dict) else None
    if not isinstance(counts, dict):
        return None
    n_in, n_out = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if type(n_in) is not int or type(n_out) is not int:  # not bool, not 12.0, not "12"
        return None
    return Usage(n_in, n_out) if 1 <= n_in <= most_input and 0 <= n_out <= most_output else None


def read(response: Any, codes: Sequence[str]) -> Judgement | Failure:
    """The label whose code is the whole answer, with the distribution over the codes where it is known.

    The label is what the answer says, not the largest probability: servers do not all sample greedily. Tokens,
    money and time are left for the caller to add.
    """
    choice = _choice(response)
    if isinstance(choice, Failure):
        return choice
    answer = _answer(choice)
    if isinstance(answer, Failure):
        return answer
    if answer not in codes:
        return _no_code(choice)
    known = distribution(choice.get("logprobs"), answer, codes)
    return Judgement(codes.index(answer), *(known or (None, None)))


def _choice(response: Any) -> dict[str, Any] | Failure:
    choices = response.get("choices") if isinstance(response, dict) else None
    if not isinstance(choices, list):
        return Failure(FailureKind.MALFORMED, "The answer has not the form of a chat completion.")
    if not choices:
        return Failure(FailureKind.EMPTY, "The answer holds no choice.")
    choice = choices[0]
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return Failure(FailureKind.MALFORMED, "The answer has no message.")
    return choice


def _answer(choice: dict[str, Any]) -> str | Failure:
    """The answer's text without blanks around it."""
    message, reason = choice["message"], choice.get("finish_reason")
    if message.get("refusal"):
        return Failure(FailureKind.REFUSAL, "The model declined to answer.")
    if reason == "content_filter":
        return Failure(FailureKind.REFUSAL, "A content filter of the server declined the item or the answer.")
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        return Failure(FailureKind.MALFORMED, "The answer's content is not text.")
    if content is None or not content.strip():
        return _no_code(choice) if reason == "length" else Failure(FailureKind.EMPTY, "The answer has no text.")
    return content.strip()


def _no_code(choice: dict[str, Any]) -> Failure:
    if choice.get("finish_reason") == "length":
        return Failure(FailureKind.TRUNCATED, "The answer ended at the token limit before it named an option.")
    return Failure(FailureKind.OUT_OF_SET, "The answer is not the code of an option.")


def distribution(logprobs: Any, answer: str, codes: Sequence[str]) -> tuple[Vectors, float] | None:
    """float32 (K,) over the options and their mass before normalising; None where the confidence is unknown.

    Taken from the server's alternatives for the token that is the answer. Tokens that differ in blanks only are one
    option ("A", " A"); "a" is not, since in prose it is a word. Their probabilities are added and normalised.
    An option not among the alternatives is censored, not impossible: it has at most the probability p of the last
    alternative. If all m missing ones can have at most 1 % of the options' mass (m p <= .01 mass), each counts as
    p, so that no vector holds a zero that nobody said; else the vector is unknown. So it is where there are fewer
    alternatives than options, where options are longer than one token, where the list contradicts itself
    (another token was said, a probability above 1, a sum above 1) and where the server gives no list.
    label_mass counts only what the server listed.
    """
    chances = _chances(logprobs, answer)
    if chances is None or len(chances) < len(codes) or any(len(code) > 1 for code in codes):
        return None
    mass_of = [sum(p for token, p in chances if token == code) for code in codes]
    mass = sum(mass_of)
    bound = min((p for _, p in chances if p > 0), default=0.0)
    n_missing = sum(p == 0 for p in mass_of)
    if not mass > 0 or mass_of[codes.index(answer)] == 0 or n_missing * bound > _MISSING_SHARE * mass:
        return None
    p = np.array([p or bound for p in mass_of])
    return np.maximum(p / p.sum(), np.finfo(np.float32).tiny).astype(np.float32), min(mass, 1.0)


def _chances(logprobs: Any, answer: str) -> list[tuple[str, float]] | None:
    """(token without blanks, probability) of the alternatives for the answer's token; 0 where it is a sentinel."""
    place = _place(logprobs, answer)
    if place is None:
        return None
    listed = place["top_logprobs"]
    if all(isinstance(entry, dict) and entry.get("token") != place["token"] for entry in listed):
        listed = [*listed, place]  # the token that was said need not be among the likeliest
    chances = [chance for entry in listed if (chance := _chance(entry))]
    is_whole = len(chances) == len(listed) and sum(p for _, p in chances) <= 1 + _SLACK
    return chances if is_whole else None


def _chance(entry: Any) -> tuple[str, float] | None:
    token, value = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
    if not isinstance(token, str) or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not value <= _SLACK:  # also refuses NaN
        return None
    return bare(token), 0.0 if value <= _SENTINEL else math.exp(min(value, 0.0))


def _place(logprobs: Any, answer: str) -> dict[str, Any] | None:
    """The entry of the answer's token: the first that is not blank, and it must be all that was said."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    for entry in content if isinstance(content, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
            return None
        if token := bare(entry["token"]):
            return entry if token == answer and isinstance(entry.get("top_logprobs"), list) else None
    return None


def bare(token: str) -> str:
    """The token without blanks, also those in a tokenizer's own writing."""
    return token.strip().strip(_TOKENIZER_BLANKS).strip()


def n_alternatives(response: Any) -> int:
    """How many alternatives the server gave for the first token; 0 where it gave none or none that can be read."""
    choice = _choice(response)
    logprobs = None if isinstance(choice, Failure) else choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    listed = first.get("top_logprobs") if isinstance(first, dict) else None
    return len(listed) if isinstance(listed, list) else 0
