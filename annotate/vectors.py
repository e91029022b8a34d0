"""Decides where the vectors of items are kept: computed once, in one growing file per project and encoder.

An item's row in the file is its ordinal.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from django.conf import settings

from annotate import failpoints, files
from annotate.modalities import modality
from annotate.models import Item, ItemPayload, Project
from annotate.runs import lifecycle
from models_ml import registry
from models_ml.arrays import Array, Vectors
from models_ml.encoders.items import ItemEncoder, item_encoder
from models_ml.encoders.text import MemoEncoder
from models_ml.types import Contents, Encoder, EncodingProgress

_CHUNK = 1_024  # items per append to the file: a crash loses the work of a few seconds at most


@lru_cache(maxsize=2)
def encoder_named(name: str) -> Encoder:
    """The registered encoder of this name, loaded once per process; ENCODER_PATH replaces the packaged weights."""
    options = {"path": Path(settings.ENCODER_PATH)} if settings.ENCODER_PATH else {}
    encoder = registry.encoder(name, **options)
    return MemoEncoder(encoder) if settings.REMEMBER_VECTORS else encoder


def encoder_of(project: Project) -> ItemEncoder:
    """The encoder of this project's items: the project's text encoder, applied as its modality needs."""
    return item_encoder(encoder_named(project.encoder), project.modality)


def vectors_of(project: Project, show: lifecycle.Show | None = None) -> Array:
    """The vectors of the project's visible items, float32 (n, d), one row per ordinal; missing rows are encoded first.

    The array is mapped from the file, not read into memory.
    """
    encoder, name = encoder_of(project), name_of(project)
    n_items = _n_visible(project)
    with files.growing(name, n_bytes_each=4 * encoder.dim) as rows:
        for items in _items(project, rows.n_records, n_items):
            rows.append(np.ascontiguousarray(encoder.encode(items), dtype="<f4").tobytes())
            failpoints.hit("vectors.chunk")
            if show:
                show(rows.n_records, n_items)
    if not n_items:
        return np.zeros((0, encoder.dim), dtype=np.float32)
    stored = np.frombuffer(files.mapped(name), dtype="<f4", count=n_items * encoder.dim)
    return stored.reshape(n_items, encoder.dim)


def name_of(project: Project) -> str:
    """The name in the store of the file with this project's vectors by its present encoder."""
    return f"projects/{project.public_id}/vectors-{encoder_of(project).fingerprint[:16]}.f32"


class KnownVectors:
    """An encoder that returns remembered vectors of texts, so that pre-labeling does not encode the pool twice."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, Vectors] = {}
        self.name, self.fingerprint, self.dim = encoder.name, encoder.fingerprint, encoder.dim

    def remember(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Remember these texts' vectors instead of those of the call before, so that memory does not grow."""
        self._known = dict(zip(texts, vectors, strict=True))

    def encode(self, texts: Sequence[str], progress: EncodingProgress | None = None) -> Vectors:
        """The texts' vectors, float32 (n, d): remembered, or computed by the encoder."""
        unknown = [text for text in texts if text not in self._known]
        fresh = dict(zip(unknown, self._encoder.encode(unknown, progress), strict=True)) if unknown else {}
        rows = [self._known[text] if text in self._known else fresh[text] for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dim)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The encoder's number of tokens of each text."""
        return self._encoder.count_tokens(texts)


def _n_visible(project: Project) -> int:
    """How many ordinals the visible items take up, from 0 to the highest."""
    last = Item.objects.filter(project=project).visible().order_by("-ordinal").values_list("ordinal", flat=True).first()
    return 0 if last is None else last + 1


def _items(project: Project, start: int, stop: int) -> Iterator[list[Contents]]:
    contents = modality(project.modality).contents
    for first in range(start, stop, _CHUNK):
        payloads = (
            ItemPayload.objects.filter(
                item__project=project, item__ordinal__gte=first, item__ordinal__lt=min(first + _CHUNK, stop)
            )
            .order_by("item__ordinal")
            .values_list("payload", flat=True)
        )
        yield [contents(payload) for payload in payloads]
