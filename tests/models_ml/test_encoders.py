import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from models_ml.encoders.text import (
    WEIGHTS,
    CheckpointMismatch,
    MemoEncoder,
    SentenceEncoder,
    default_folder,
    weights_checksum,
)

TEXTS = [
    "My card has not arrived yet.",
    "Why?",
    "",
    "A much longer sentence about a transfer that should have been there on Monday, and is not.",
    "Where is my card?",
    "Ünïcödé 🙂 works too",
]


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder(batch_size=2)


@pytest.fixture(scope="module")
def vectors(encoder):
    return encoder.encode(TEXTS)


def one_by_one(texts, max_length=256):
    """The definition, written down slowly: pad, mask, mean, scale."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(default_folder())
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    rows = []
    for text in texts:
        batch = tokenizer(text, padding="max_length", truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state[0].numpy()
        read = batch["attention_mask"][0].numpy() == 1
        mean = hidden[read].mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.stack(rows)


class TestSentenceEncoder:
    def test_it_agrees_with_the_padded_masked_mean(self, vectors):
        assert (vectors * one_by_one(TEXTS)).sum(axis=1).min() > 0.99999

    def test_it_returns_rows_of_length_one(self, vectors):
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(TEXTS), 384)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)

    def test_it_puts_related_texts_closer(self, vectors):
        assert vectors[0] @ vectors[4] > vectors[0] @ vectors[3]

    def test_it_is_deterministic(self, encoder, vectors):
        assert np.array_equal(encoder.encode(TEXTS), vectors)

    def test_a_vector_does_not_depend_on_its_neighbours(self, encoder, vectors):
        assert encoder.encode(TEXTS[::-1])[::-1] == pytest.approx(vectors, abs=1e-6)
        assert encoder.encode(TEXTS[3:4])[0] == pytest.approx(vectors[3], abs=1e-6)

    def test_it_takes_no_texts(self, encoder):
        assert encoder.encode([]).shape == (0, 384)
        assert encoder.encode([]).dtype == np.float32
        assert encoder.count_tokens([]) == []

    def test_it_reports_progress_up_to_the_end(self, encoder):
        seen = []
        encoder.encode(TEXTS, seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == len(TEXTS)

    def test_it_reads_no_more_than_the_limit(self, encoder):
        assert encoder.count_tokens(["", "card", "card " * 500]) == [2, 3, 256]
        long = encoder.encode(["card " * 254, "card " * 500])
        assert long[0] == pytest.approx(long[1], abs=1e-6)

    def test_its_names_tell_weights_and_settings_apart(self, encoder):
        assert encoder.name == "all-MiniLM-L6-v2@53aa51172d14"
        assert re.fullmatch("[0-9a-f]{64}", encoder.fingerprint)
        assert SentenceEncoder(max_length=32).fingerprint != encoder.fingerprint

    def test_it_stays_close_in_bf16(self, vectors):
        """In a process of its own: some virtual machines announce AMX and die of it."""
        script = (
            "import json; from models_ml.encoders.text import SentenceEncoder as E;"
            f"print(json.dumps(E(precision='bf16').encode({TEXTS!r}).tolist()))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        if done.returncode < 0:
            pytest.skip(f"bf16 is announced and does not work on this machine (signal {-done.returncode})")
        assert (np.array(json.loads(done.stdout)) * vectors).sum(axis=1).min() > 0.999


class TestCheckpoint:
    def test_it_refuses_other_weights_as_the_default(self, tmp_path, monkeypatch):
        (tmp_path / WEIGHTS).write_bytes(b"something else")
        monkeypatch.setattr("models_ml.encoders.text.default_folder", lambda: tmp_path)
        with pytest.raises(
            CheckpointMismatch, match=r"model\.safetensors: expected SHA-256 53aa.*, found [0-9a-f]{64}"
        ):
            SentenceEncoder()

    def test_it_takes_another_folder_under_its_own_name(self, tmp_path):
        folder = shutil.copytree(default_folder(), tmp_path / "mine")
        other = SentenceEncoder(folder)
        assert other.name.startswith("mine@")
        assert other.checksum == weights_checksum(folder)

    def test_it_says_so_where_there_are_no_weights(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
            SentenceEncoder(tmp_path)


class CountingEncoder:
    """Remembers what it was asked; delegates the rest."""

    def __init__(self, encoder):
        self.encoder, self.asked = encoder, []
        self.name, self.fingerprint, self.dim = encoder.name, encoder.fingerprint, encoder.dim

    def encode(self, texts, progress=None):
        self.asked += texts
        return self.encoder.encode(texts, progress)

    def count_tokens(self, texts):
        return self.encoder.count_tokens(texts)


class TestMemoEncoder:
    @pytest.fixture
    def counting(self, encoder):
        return CountingEncoder(encoder)

    def test_it_encodes_each_text_once(self, counting):
        memo = MemoEncoder(counting)
        memo.encode(["a", "b", "a"])
        memo.encode(["b", "c"])
        assert counting.asked == ["a", "b", "c"]

    def test_it_returns_the_same_vectors(self, counting, vectors):
        memo = MemoEncoder(counting)
        memo.encode(TEXTS[2:])
        assert memo.encode(TEXTS) == pytest.approx(vectors, abs=1e-6)

    def test_what_it_returns_may_be_changed(self, counting):
        memo = MemoEncoder(counting)
        memo.encode(["a"])[:] = 0
        assert memo.encode(["a"]).any()

    def test_it_takes_no_texts(self, counting):
        assert MemoEncoder(counting).encode([]).shape == (0, 384)

    def test_it_goes_by_the_encoders_names(self, counting):
        memo = MemoEncoder(counting)
        assert (memo.name, memo.fingerprint, memo.dim) == (counting.name, counting.fingerprint, 384)
