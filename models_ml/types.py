"""What encoders and annotators promise, shared by the in-process annotator and an LLM over HTTP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from models_ml.arrays import Vectors

Content = str  # a media file will be another kind beside it
# One item as models read it, in the order of its modality's fields: (text,), or (text_a, text_b) for a pair.
Contents = tuple[Content, ...]
EncodingProgress = Callable[[int], None]  # called with the number of texts done so far


class Encoder(Protocol):
    """Texts to vectors. A text's vector never depends on the other texts of the call."""

    @property
    def name(self) -> str:
        """For people: model and the start of its checksum."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal of all that can change a vector: never mix vectors of two fingerprints."""

    @property
    def dim(self) -> int: ...

    def encode(self, texts: Sequence[str], progress: EncodingProgress | None = None) -> Vectors:
        """Return float32 (n, dim), rows in the order of `texts`, each of length 1."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens of each text are read (what lies beyond the limit is not)."""


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """One class as the schema describes it. Its number is its place in the sequence of labels."""

    name: str
    definition: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A gold item shown to the annotator (few-shot). The caller keeps it out of its own item's request."""

    contents: Contents
    label: int


@dataclass(frozen=True, slots=True)
class AnnotationRequest:
    """One checked call: what to label, among which classes, by which words and examples.

    Raises ValueError where there is nothing to choose between, names repeat, an item has no contents, or an
    example names a class that does not exist.
    """

    items: Sequence[Contents]
    labels: Sequence[LabelSpec]
    guidelines: str = ""
    examples: Sequence[Example] = ()

    def __post_init__(self) -> None:
        if len({label.name for label in self.labels}) != len(self.labels):
            raise ValueError("label names must be unique")
        if len(self.labels) < 2:
            raise ValueError("an annotator needs at least two labels")
        if not all(self.items):
            raise ValueError("every item needs at least one text")
        if not all(0 <= example.label < len(self.labels) for example in self.examples):
            raise ValueError("an example's label must be an index into labels")


class FailureKind(StrEnum):
    """Why an item has no valid label. `unavailable` alone is worth asking again as it is."""

    REFUSAL = "refusal"  # the model, or a content filter before it, declined
    OUT_OF_SET = "out_of_set"  # a well-formed answer that names no class
    TRUNCATED = "truncated"  # the answer ended at the token limit before it named a class
    EMPTY = "empty"  # the item or the answer has no text
    MALFORMED = "malformed"  # the answer could not be read
    MISSING = "missing"  # an answer for several items that leaves this one out
    TOO_LONG = "too_long"  # the item does not fit into the model's context
    UNAVAILABLE = "unavailable"  # no answer after the allowed attempts


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """A valid label, 0 <= label < K. What the model did not say is None, never made up.

    probabilities: float32 (K,) summing to 1, over the classes only; None where none were given.
    label_mass: how much of the model's own probability fell on the classes at all before `probabilities` was
    normalised, 0..1; 1.0 where it can say nothing else.
    Tokens are None where the model did not count them; money is in micro-units.
    """

    label: int
    probabilities: Vectors | None = None
    label_mass: float | None = None
    n_input_tokens: int | None = None
    n_output_tokens: int | None = None
    cost_micros: int = 0
    latency_seconds: float | None = None

    def __post_init__(self) -> None:
        p = self.probabilities
        if p is None:
            return
        if p.dtype != np.float32 or p.ndim != 1 or not 0 <= self.label < p.size:
            raise ValueError("probabilities must be float32 (K,) with the label inside")
        if not (np.all(p >= 0) and abs(float(p.sum()) - 1) < 1e-3):  # also refuses NaN
            raise ValueError("probabilities must be a distribution")


@dataclass(frozen=True, slots=True)
class Failure:
    """No valid label, and why. `message` is a sentence for people and never holds the item's text.

    reply: an excerpt of what the machine said instead, which may repeat the item; None where it said nothing.
    """

    kind: FailureKind
    message: str
    n_input_tokens: int | None = None
    n_output_tokens: int | None = None
    cost_micros: int = 0
    latency_seconds: float | None = None
    reply: str | None = None


class Annotator(Protocol):
    """Anything that labels items by itself."""

    @property
    def name(self) -> str:
        """What the registry and pages call it."""

    @property
    def model(self) -> str:
        """Exactly what produces the answers, the weights' checksum and all parameters included."""

    def annotate(
        self,
        items: Sequence[Contents],
        *,
        labels: Sequence[LabelSpec],
        guidelines: str = "",
        examples: Sequence[Example] = (),
    ) -> list[Judgement | Failure]:
        """Return one answer per item, in order. Raises ValueError as AnnotationRequest does.

        The in-process annotator is deterministic and answers each item independently of the others.
        """
