import hashlib

import numpy as np
import pytest

from models_ml.checkpoints import file_sha256, load_checkpoint, to_bytes

ARRAYS = {"b": np.arange(6, dtype=np.int64).reshape(2, 3), "a": np.array([0.1, 0.2], np.float32)}
CONFIG = {"λ": 5.0, "names": ["x", None], "gold_weight": "inf"}


def saved(path, arrays, config):
    """Write a checkpoint; its SHA-256."""
    content = to_bytes(arrays, config)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_what_is_loaded_is_what_was_saved(tmp_path):
    path = tmp_path / "head.safetensors"
    digest = saved(path, ARRAYS, CONFIG)
    arrays, config = load_checkpoint(path, digest)
    assert config == CONFIG
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_the_same_content_gives_the_same_bytes():
    shuffled = {name: ARRAYS[name] for name in reversed(ARRAYS)}
    assert to_bytes(ARRAYS, CONFIG) == to_bytes(shuffled, dict(reversed(CONFIG.items())))


def test_it_takes_arrays_that_are_not_contiguous(tmp_path):
    path = tmp_path / "t"
    saved(path, {"t": ARRAYS["b"].T}, {})
    np.testing.assert_array_equal(load_checkpoint(path)[0]["t"], ARRAYS["b"].T)


def test_the_checksum_is_that_of_the_file(tmp_path):
    path = tmp_path / "c"
    assert saved(path, ARRAYS, CONFIG) == file_sha256(path)


def test_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "c"
    digest = saved(path, ARRAYS, CONFIG)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        load_checkpoint(path, digest)


def test_what_json_cannot_say_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_bytes(ARRAYS, {"loss": float("nan")})
