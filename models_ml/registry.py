"""Which encoders, annotators, methods and networks exist: one line each, imported when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from models_ml.types import Annotator, Encoder

if TYPE_CHECKING:
    from torch import Generator

    from models_ml.networks.network import Network

ENCODERS = {
    "minilm": "models_ml.encoders.text:SentenceEncoder",
}
ANNOTATORS = {
    "offline": "models_ml.llm.offline:OfflineAnnotator",
}
METHODS = {  # by the name that is stored; models_ml.methods.build makes one from what people chose
    "corrected": "models_ml.methods.corrected:Corrected",
    "cross_entropy": "models_ml.methods.cross_entropy:CrossEntropy",
    "gold_only": "models_ml.methods.gold_only:GoldOnly",
    "gce": "models_ml.methods.gce:GCE",
}
NETWORKS = {
    "linear": "models_ml.networks.linear:LinearNetwork",
    "words": "models_ml.networks.words:WordAveragingNetwork",
}


def encoder(name: str = "minilm", **options: Any) -> Encoder:
    """Build the encoder; `options` go to its constructor."""
    return cast(Encoder, find(ENCODERS, name)(**options))


def annotator(name: str = "offline", **options: Any) -> Annotator:
    """Build the annotator; `offline` needs encoder=."""
    return cast(Annotator, find(ANNOTATORS, name)(**options))


def network(name: str) -> Callable[[int, int, Generator], Network]:
    """What makes a network for (inputs, classes, torch generator)."""
    return cast("Callable[[int, int, Generator], Network]", find(NETWORKS, name))


def find(table: dict[str, str], name: str) -> Any:
    """What a line of a table names; KeyError with what there is."""
    if name not in table:
        raise KeyError(f"unknown name {name!r}; known: {', '.join(sorted(table)) or 'none'}")
    module, attribute = table[name].split(":")
    return getattr(import_module(module), attribute)
