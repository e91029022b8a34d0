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
    "mae": "models_ml.methods.mae:MAE",
    "truncated_gce": "models_ml.methods.truncated_gce:TruncatedGCE",
    "curriculum": "models_ml.methods.curriculum:Curriculum",
    "npcl": "models_ml.methods.npcl:NPCL",
    "backward": "models_ml.methods.backward:Backward",
    "bootstrapping": "models_ml.methods.bootstrapping:Bootstrapping",
    "co_teaching": "models_ml.methods.co_teaching:CoTeaching",
    "early_learning": "models_ml.methods.early_learning:EarlyLearning",
    "noisy_label_annealing": "models_ml.methods.noisy_label_annealing:NoisyLabelAnnealing",
    "distillation": "models_ml.methods.distillation:Distillation",
    "self_training": "models_ml.methods.self_training:SelfTraining",
    "label_propagation": "models_ml.methods.label_propagation:LabelPropagation",
    "importance": "models_ml.methods.importance:Importance",
    "learning_to_reweight": "models_ml.methods.learning_to_reweight:LearningToReweight",
    "random_weights": "models_ml.methods.random_weights:RandomWeights",
    "mentornet": "models_ml.methods.mentornet:MentorNet",
    "meta_label_correction": "models_ml.methods.meta_label_correction:MetaLabelCorrection",
    "fasten": "models_ml.methods.fasten:FasTEN",
    "noise_layer": "models_ml.methods.noise_layer:NoiseLayer",
    "adaptation_layer": "models_ml.methods.adaptation_layer:AdaptationLayer",
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
