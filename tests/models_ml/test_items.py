"""How an item of one or two texts becomes a vector."""

import numpy as np
import pytest

from models_ml.encoders.items import PairItems, TextItems, item_encoder


class LetterEncoder:
    """Unit vectors from the first letters; no model needed."""

    name, fingerprint, dim = "letters", "f" * 64, 3

    def encode(self, texts, progress=None):
        x = np.array([[*map(ord, text[:3].ljust(3))] for text in texts], np.float32).reshape(-1, 3)
        return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def encoder():
    return LetterEncoder()


def test_a_text_is_its_own_vector(encoder):
    assert np.array_equal(TextItems(encoder).encode([("abc",), ("x",)]), encoder.encode(["abc", "x"]))
    assert TextItems(encoder).fingerprint == encoder.fingerprint


def test_a_pair_is_its_texts_and_how_they_differ(encoder):
    a, b = encoder.encode(["abc", "xyz"])
    (x,) = PairItems(encoder).encode([("abc", "xyz")])
    assert np.array_equal(x, np.concatenate([a / 2, b / 2, abs(a - b), a * b]))
    assert x.dtype == np.float32 and x.shape == (PairItems(encoder).dim,)


def test_the_order_of_a_pair_matters(encoder):
    first, second = PairItems(encoder).encode([("abc", "xyz"), ("xyz", "abc")])
    assert not np.array_equal(first, second)


def test_a_pair_does_not_depend_on_its_neighbours(encoder):
    pairs = [("a", "b"), ("c", "d"), ("e", "f")]
    assert np.array_equal(PairItems(encoder).encode(pairs)[1:2], PairItems(encoder).encode(pairs[1:2]))


@pytest.mark.parametrize("modality", ["text", "pair"])
def test_it_takes_no_items(encoder, modality):
    items = item_encoder(encoder, modality)
    assert items.encode([]).shape == (0, items.dim)


def test_names_and_fingerprints_tell_the_ways_apart(encoder):
    text, pair = item_encoder(encoder, "text"), item_encoder(encoder, "pair")
    assert text.fingerprint != pair.fingerprint and len(pair.fingerprint) == 64
    assert text.name != pair.name


def test_other_modalities_have_no_vectors(encoder):
    with pytest.raises(ValueError, match="'image'"):
        item_encoder(encoder, "image")
