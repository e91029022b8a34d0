"""What a chat completion says: one of the options, or why not. Never the nearest match, never an invented number.

Which replies name an option is decided in wrappings.py.

The response comes from outside and may have any shape; whatever it is, reading it gives a Judgement or a Failure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from models_ml.arrays import Vectors
from models_ml.label_matching import Matcher
from models_ml.llm.chat import codes
from models_ml.llm.wrappings import Named, option_named
from models_ml.texts import has_text
from models_ml.types import Failure, FailureKind, Judgement

# A vector is given although options are missing from the server's list if all of them together can have at most
# this share of the options' probability: less than calibration on a few hundred items could ever see.
_MISSING_SHARE = 0.01
_SLACK = 1e-3  # servers round: a log-probability this much above 0, or a sum this much above 1, is still believed
_SENTINEL = -9999.0  # "very unlikely" with OpenAI, "masked" with vLLM: not a number to compute with
_TOKENIZER_BLANKS = "\u2581\u0120\u010a"  # how SentencePiece and byte-level BPE write blank and line end
_AS_TEXT = str.maketrans(_TOKENIZER_BLANKS, "  \n")
_EXCERPT = 500  # characters of a failed reply that are kept


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


@dataclass(frozen=True, slots=True)
class Options:
    """What a model may answer with: the code of a label, or the label's name."""

    codes: Sequence[str]
    names: Matcher[int]  # indexes of the labels

    @classmethod
    def of(cls, labels: Sequence[str]) -> Self:
        """The options of labels with these names, in their order."""
        return cls(codes(len(labels)), Matcher({name: index for index, name in enumerate(labels)}))


def read(response: Any, options: Options, secret: str = "") -> Judgement | Failure:
    """The option that the reply names, by its code or by its label's name, with the distribution where it is known.

    The label is what the reply says, not the largest probability: servers do not all sample greedily. Tokens, money
    and time are left for the caller to add. A failure keeps an excerpt of the reply, in which `secret` is masked.
    """
    choice = _choice(response)
    if isinstance(choice, Failure):
        return choice
    reply = _reply(choice, secret)
    if isinstance(reply, Failure):
        return reply
    named = _named(reply, choice, options)
    if named is None:
        return _no_option(choice, reply, secret)
    if named.code is None:
        return Judgement(named.label)
    known = distribution(choice.get("logprobs"), named.code, options.codes, reply, named.start)
    return Judgement(named.label, *(known or (None, None)))


def _named(reply: str, choice: dict[str, Any], options: Options) -> Named | None:
    """The option that the reply names. Of a reply that was cut off only the bare code: all else may be a beginning."""
    if choice.get("finish_reason") != "length":
        return option_named(reply, options.codes, options.names)
    code = reply.strip()
    return Named(options.codes.index(code), code, reply.find(code)) if code in options.codes else None


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


def _reply(choice: dict[str, Any], secret: str) -> str | Failure:
    """The text of the reply."""
    message, reason = choice["message"], choice.get("finish_reason")
    content = _text(message.get("content"))
    if refusal := message.get("refusal"):
        return Failure(FailureKind.REFUSAL, "The model declined to answer.", reply=excerpt(refusal, secret))
    if reason == "content_filter":
        sentence = "A content filter of the server declined the item or the answer."
        return Failure(FailureKind.REFUSAL, sentence, reply=excerpt(content, secret))
    if content is None:
        sentence = "The answer's content is not text."
        return Failure(FailureKind.MALFORMED, sentence, reply=excerpt(message["content"], secret))
    if not has_text(content):
        return (
            _no_option(choice, "", secret)
            if reason == "length"
            else Failure(FailureKind.EMPTY, "The answer has no text.")
        )
    return content


def _text(content: Any) -> str | None:
    """The text of a message: a string, or parts of which each is text; None if it is anything else."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    return "".join(text for text in texts if text) if all(isinstance(text, str) for text in texts) else None


def _no_option(choice: dict[str, Any], reply: str, secret: str) -> Failure:
    if choice.get("finish_reason") == "length":
        sentence = "The answer ended at the token limit before it named an option."
        return Failure(FailureKind.TRUNCATED, sentence, reply=excerpt(reply, secret))
    return Failure(
        FailureKind.OUT_OF_SET, "The answer names no option, or more than one.", reply=excerpt(reply, secret)
    )


def excerpt(said: Any, secret: str = "") -> str | None:
    """Beginning and end of what a server said, as text that every database stores; None where it said nothing.

    `secret` is masked before the text is cut, so that no part of it is left at the cut.
    """
    text = said if isinstance(said, str) else repr(said)
    if said is None or not has_text(text):
        return None
    text = text.replace(secret, "…") if secret else text
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    half = (_EXCERPT - 1) // 2
    return text if len(text) <= _EXCERPT else f"{text[:half]}…{text[-half:]}"


def distribution(
    logprobs: Any, answer: str, codes: Sequence[str], reply: str | None = None, start: int = 0
) -> tuple[Vectors, float] | None:
    """float32 (K,) over the options and their mass before normalising; None where the confidence is unknown.

    Taken from the server's alternatives for the token that is the code, which is `answer` and begins at `start` of the
    `reply` (by default the code is all that was said). Tokens that differ in blanks only are one option ("A", " A");
    "a" is not, since in prose it is a word, unless "a" is how the reply writes the code. Their probabilities are added
    and normalised.
    An option not among the alternatives is censored, not impossible: it has at most the probability p of the last
    alternative. If all m missing ones can have at most 1 % of the options' mass (m p <= .01 mass), each counts as
    p, so that no vector holds a zero that nobody said; else the vector is unknown. So it is where there are fewer
    alternatives than options, where options are longer than one token, where the list contradicts itself
    (another token was said, a probability above 1, a sum above 1) and where the server gives no list.
    label_mass counts only what the server listed.
    """
    chances = _chances(_place(logprobs, answer, answer if reply is None else reply, start))
    if chances is None or len(chances) < len(codes) or any(len(code) > 1 for code in codes):
        return None
    written = str.upper if answer not in codes else str
    mass_of = [sum(p for token, p in chances if written(token) == code) for code in codes]
    mass = sum(mass_of)
    bound = min((p for _, p in chances if p > 0), default=0.0)
    n_missing = sum(p == 0 for p in mass_of)
    if not mass > 0 or mass_of[codes.index(answer.upper())] == 0 or n_missing * bound > _MISSING_SHARE * mass:
        return None
    p = np.array([p or bound for p in mass_of])
    return np.maximum(p / p.sum(), np.finfo(np.float32).tiny).astype(np.float32), min(mass, 1.0)


def _chances(place: dict[str, Any] | None) -> list[tuple[str, float]] | None:
    """(token without blanks, probability) of the alternatives for a token; 0 where it is a sentinel."""
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


def _place(logprobs: Any, code: str, reply: str, start: int) -> dict[str, Any] | None:
    """The entry of the token that is the code and nothing else; None where the tokens are not those of the reply."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    blanks = len(reply) - len(reply.lstrip())
    wanted, place, text = reply.lstrip(), start - blanks, ""
    for entry in content if isinstance(content, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
            return None
        before, text = text, (text + entry["token"].translate(_AS_TEXT)).lstrip()
        if len(text) > place:
            is_own = bare(entry["token"]) == code and text.rstrip() == wanted[: place + len(code)]
            return entry if is_own and len(before) <= place and isinstance(entry.get("top_logprobs"), list) else None
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
