"""An annotator without a language model: how near is an item to what was written about each label?"""

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from models_ml.arrays import Vectors
from models_ml.encoders.items import joined
from models_ml.encoders.text import MemoEncoder
from models_ml.texts import has_text
from models_ml.types import (
    AnnotationRequest,
    Contents,
    Encoder,
    Example,
    Failure,
    FailureKind,
    Judgement,
    LabelSpec,
)

# Weights in a label's prototype. Of some thirty mixtures these had the lowest mean log-loss at one temperature,
# over the training parts of TREC, AG News, MR and BANKING77. The largest cosine over phrasings, all words in
# one text, and centred vectors had a higher one.
_NAME = 0.25  # names are often codes (ABBR) or ambiguous
_DEFINITION = 1.0
_EXAMPLES = 1.0  # all of a label's together
_GOLD = 0.25  # each; the best of .1, .25, .5, 1 and 2 for 1, 3, 8 and 20 gold items per class


class OfflineAnnotator:
    """Zero-shot by similarity: softmax(cos(item, prototype) / temperature) over the labels.

    A label's prototype is the weighted mean of the vectors of its name, its definition, its examples and the
    request's gold examples, scaled to length 1. Guidelines are not read, nor are tokens beyond the encoder's
    limit. Deterministic, and each item is answered independently of the others. Costs nothing.
    A pair is read as one text, its two texts joined: what it is about counts, how its texts relate hardly does.

    The K-vector is a similarity score written as a distribution, not a confidence: it says nothing about how
    often the label is right until it is calibrated on the project's reference sample. label_mass is 1.0
    because the scores are over the labels and nothing else. temperature: .052 has the lowest mean log-loss
    over those four sets (.799; alone they would take .058, .054, .070 and .046).
    """

    name = "offline"

    def __init__(self, encoder: Encoder, temperature: float = 0.052) -> None:
        if not temperature > 0:
            raise ValueError("temperature must be above 0")
        self.temperature = temperature
        self.model = f"zero-shot-1 {encoder.name} encoder={encoder.fingerprint} t={temperature:g}"
        self._encoder = encoder
        self._phrases = MemoEncoder(encoder)  # the same labels come with every chunk of items

    def annotate(
        self,
        items: Sequence[Contents],
        *,
        labels: Sequence[LabelSpec],
        guidelines: str = "",
        examples: Sequence[Example] = (),
    ) -> list[Judgement | Failure]:
        """Return a Judgement per item, or Failure(empty) where an item has no text; see types.Annotator."""
        request = AnnotationRequest(items, labels, guidelines, examples)
        started = perf_counter()
        texts = [joined(contents) for contents in items]
        readable = [text for text in texts if has_text(text)]
        probabilities = self._distributions(readable, self._prototypes(request))
        tokens = self._encoder.count_tokens(readable)
        seconds = (perf_counter() - started) / max(len(readable), 1)  # each item's share of the call
        judgements = (
            Judgement(int(p.argmax()), p, 1.0, n, 0, 0, seconds) for p, n in zip(probabilities, tokens, strict=True)
        )
        empty = Failure(FailureKind.EMPTY, "The item has no text.", 0, 0, 0, 0.0)
        return [next(judgements) if has_text(text) else empty for text in texts]

    def _distributions(self, texts: Sequence[str], prototypes: Vectors) -> Vectors:
        """n texts, prototypes (K, d) -> float32 (n, K), rows summing to 1."""
        # Not a matrix product: its last bits depend on how many items there are.
        cosines = np.einsum("nd,kd->nk", self._encoder.encode(texts), prototypes)
        scores = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / np.float32(self.temperature))
        result: Vectors = scores / scores.sum(axis=1, keepdims=True)
        return result

    def _prototypes(self, request: AnnotationRequest) -> Vectors:
        """Return float32 (K, d), rows of length 1."""
        phrases = [_phrases(label, index, request.examples) for index, label in enumerate(request.labels)]
        self._phrases.encode([text for weighted in phrases for text, _ in weighted])  # all in one go
        return np.stack([self._prototype(weighted) for weighted in phrases])

    def _prototype(self, weighted: Sequence[tuple[str, float]]) -> Vectors:
        vectors = self._phrases.encode([text for text, _ in weighted])
        mean = np.array([weight for _, weight in weighted], dtype=np.float32) @ vectors
        result: Vectors = mean / np.linalg.norm(mean)
        return result


def _phrases(label: LabelSpec, index: int, gold: Sequence[Example]) -> list[tuple[str, float]]:
    """What is known in words about a label, with weights; blank texts are left out, the name never."""
    weighted = [(label.definition, _DEFINITION)]
    weighted += [(text, _EXAMPLES / len(label.examples)) for text in label.examples]
    weighted += [(joined(example.contents), _GOLD) for example in gold if example.label == index]
    return [(_words(label.name), _NAME)] + [(text, weight) for text, weight in weighted if text.strip()]


def _words(name: str) -> str:
    """card_not_working -> card not working; a name without any word stays as it is."""
    return " ".join(name.replace("_", " ").split()) or name
