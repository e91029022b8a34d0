"""Permanent random numbers and folds."""

import hashlib
import hmac

import numpy as np
from scipy.stats import chisquare, kstest

from models_ml.randomness import commitment, fold, unit_interval

KEY = bytes(range(32))
HASHES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(5000)]


def test_it_takes_the_first_53_bits_of_the_hmac():
    digest = hmac.new(KEY, b"u" + HASHES[0].encode(), hashlib.sha256).hexdigest()
    first_53_bits = bin(int(digest, 16))[2:].zfill(256)[:53]
    assert unit_interval(KEY, HASHES[0]) == int(first_53_bits, 2) / 2**53


def test_it_keeps_known_answers():
    assert unit_interval(KEY, "00") == 0.29541527508892396
    assert [fold(KEY, h) for h in HASHES[:8]] == [1, 1, 2, 3, 4, 3, 0, 2]


def test_it_takes_the_fold_from_another_hmac():
    digest = hmac.new(KEY, b"fold" + HASHES[1].encode(), hashlib.sha256).digest()
    assert fold(KEY, HASHES[1], n_folds=7) == int.from_bytes(digest[:8], "big") % 7


def test_it_spreads_items_evenly_over_the_unit_interval():
    assert kstest([unit_interval(KEY, h) for h in HASHES], "uniform").pvalue > 0.01


def test_it_spreads_items_evenly_over_folds():
    assert chisquare(np.bincount([fold(KEY, h) for h in HASHES], minlength=5)).pvalue > 0.01


def test_it_draws_folds_that_are_independent_of_u():
    low = [fold(KEY, h) for h in HASHES if unit_interval(KEY, h) < 0.3]
    assert chisquare(np.bincount(low, minlength=5)).pvalue > 0.01


def test_it_gives_another_key_other_numbers():
    assert unit_interval(KEY, HASHES[0]) != unit_interval(KEY[::-1], HASHES[0])


def test_it_commits_to_the_key():
    assert commitment(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
