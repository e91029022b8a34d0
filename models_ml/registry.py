"""Which encoders, annotators and classifiers exist: one line each, imported when first asked for."""

from importlib import import_module
from typing import Any, cast

from models_ml.types import Annotator, Encoder

ENCODERS = {
    "minilm": "models_ml.encoders.text:SentenceEncoder",
}
ANNOTATORS = {
    "offline": "models_ml.llm.offline:OfflineAnnotator",
}
CLASSIFIERS: dict[str, str] = {}


def encoder(name: str = "minilm", **options: Any) -> Encoder:
    """Build the encoder; `options` go to its constructor."""
    return cast(Encoder, _build(ENCODERS, name, options))


def annotator(name: str = "offline", **options: Any) -> Annotator:
    """Build the annotator; `offline` needs encoder=."""
    return cast(Annotator, _build(ANNOTATORS, name, options))


def classifier(name: str, **options: Any) -> Any:
    """Build the classifier."""
    return _build(CLASSIFIERS, name, options)


def _build(table: dict[str, str], name: str, options: dict[str, Any]) -> Any:
    if name not in table:
        raise KeyError(f"unknown name {name!r}; known: {', '.join(sorted(table)) or 'none'}")
    module, attribute = table[name].split(":")
    return getattr(import_module(module), attribute)(**options)
