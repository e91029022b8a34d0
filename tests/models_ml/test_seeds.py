import numpy as np

from models_ml.seeds import generator


def first(*names: str | int, seed: int = 1) -> int:
    return int(generator(seed, *names).integers(2**62))


def test_it_repeats_a_stream():
    assert np.array_equal(generator(7, "round", 2).random(5), generator(7, "round", 2).random(5))


def test_it_stays_the_same_over_versions():
    assert generator(7, "round", 2).integers(1000, size=4).tolist() == [173, 972, 888, 257]


def test_it_separates_seeds_names_and_their_borders():
    streams = [first(), first("a"), first("ab"), first("a", "b"), first("1"), first(1), first(seed=2)]
    assert len(set(streams)) == len(streams)


def test_it_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].tolist()
    generator(1, "a").random(3)
    assert np.random.get_state()[1].tolist() == before
