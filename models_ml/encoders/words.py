"""Texts to numbers of their words, as in the published text experiments of GLC (Hendrycks et al. 2018)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 10_000  # numbers of words: 1 for the most frequent one, this one for all words that are not known
PADDING = 0
SLOTS = 30  # words that are read of a text: the last ones

# English words that say little alone. The published experiments take NLTK's list, which is no package here; it is made
# of the Snowball project's list (BSD licence), five more words, and what the pattern below leaves of contractions
# ("don't" is "don" and "t"). So is this one. "no", "nor" and "not" are among them, as published.
_STOP_WORDS = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it
its itself they them their theirs themselves what which who whom this that these those am is are was were be been
being have has had having do does did doing a an the and but if or because as until while of at by for with about
against between into through during before after above below to from up down in out on off over under again further
then once here there when where why how all any both each few more most other some such no nor not only own same so
than too very can will just should now
s t d ll m o re ve y don ain aren couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn
weren won wouldn
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without stop words."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


@dataclass(frozen=True)
class Vocabulary:
    """The numbers of words, by how frequent they are."""

    numbers: Mapping[str, int]
    unknown: int = VOCABULARY

    @classmethod
    def of(cls, texts: Iterable[str], size: int = VOCABULARY) -> Vocabulary:
        """The most frequent words, 1 to size - 1, of equal ones the first seen; `size` is left for unknown words.

        The published code gives the number of unknown words to the last known word, too: the same for a model.
        """
        counts = Counter(word for text in texts for word in words(text))
        return cls({word: rank for rank, (word, _) in enumerate(counts.most_common(size - 1), start=1)}, size)

    def encode(self, texts: Sequence[str], slots: int = SLOTS) -> NDArray[np.int32]:
        """int32[n, slots]: a text's last words, padded and cut at the left."""
        rows = np.full((len(texts), slots), PADDING, np.int32)
        for row, text in zip(rows, texts, strict=True):
            numbers = [self.numbers.get(word, self.unknown) for word in words(text)][-slots:]
            if numbers:
                row[-len(numbers) :] = numbers
        return rows
