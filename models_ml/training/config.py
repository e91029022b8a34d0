"""With which method and settings a version is trained; kept as JSON beside every version."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models_ml import methods
from models_ml.methods import Method
from models_ml.noise.choice import KINDS

# Parameters that have a key of their own in the stored JSON, as they had before methods had parameters.
_OWN_KEYS = ("gold_weight", "l2", "transition")


@dataclass(frozen=True)
class TrainingConfig:
    """How a version is trained; JSON both ways (to_dict, from_dict). `TrainingConfig.of` makes one from a choice.

    gold_weights, l2 and, for other parameters, grid: the values that the search compares; parameters: all others of the
    method's. A key that says nothing is left out of the JSON, so that a version's bytes outlive later additions.
    """

    method: str = "corrected"
    gold_weights: tuple[float, ...] = tuple(Method.grid["gold_weight"])
    l2: tuple[float, ...] = tuple(Method.grid["l2"])
    n_folds: int = 5  # docs/loop.md, "Out of fold"
    transition: str = "auto"  # of KINDS: whichever of "direct" and "glc" has the better cross-validated log-loss
    # Below this the search would follow noise, and the defaults are used.
    min_reference: int = 20
    default_gold_weight: float = 5.0
    default_l2: float = 3.0
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.transition not in KINDS:
            raise ValueError(f"unknown transition {self.transition!r}")
        if not self.gold_weights or not self.l2 or self.n_folds < 2:
            raise ValueError("a search needs a gold weight, an l2 and two folds")
        self.build()

    @classmethod
    def of(
        cls, name: str, parameters: Mapping[str, Any] | None = None, *, n_folds: int = 5, seed: int = 0
    ) -> TrainingConfig:
        """What to train by the method of this name: parameters given are fixed, the search varies the rest of its grid.

        Raises ValueError as `methods.build` does.
        """
        given, method = dict(parameters or {}), methods.build(name, parameters)
        values = {f.name: getattr(method, f.name) for f in dataclasses.fields(method)}
        axes = {key: (values[key],) if key in given else tuple(tries) for key, tries in method.grid.items()}
        others = {key: value for key, value in values.items() if key not in _OWN_KEYS}
        return cls(
            method=method.name,
            gold_weights=axes.get("gold_weight", cls.gold_weights),
            l2=axes.get("l2", cls.l2),
            n_folds=n_folds,
            transition=values.get("transition", "auto"),
            default_gold_weight=values["gold_weight"] if "gold_weight" in axes else cls.default_gold_weight,
            default_l2=values["l2"],
            seed=seed,
            parameters=others,
            grid={key: tries for key, tries in axes.items() if key not in _OWN_KEYS and key not in given},
        )

    def build(self, **chosen: Any) -> Method:
        """The method with these settings; `chosen`: what the search varied."""
        settable = methods.find(self.method)
        own = {"transition": self.transition} if "transition" in {f.name for f in dataclasses.fields(settable)} else {}
        method = methods.build(self.method, {**self.parameters, **own})
        return dataclasses.replace(method, **chosen)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: infinity becomes the word "inf"."""
        values = dataclasses.asdict(self)
        values["gold_weights"] = [float_to_json(w) for w in self.gold_weights]
        values["l2"] = list(self.l2)
        values["grid"] = {key: [float_to_json(v) for v in tries] for key, tries in self.grid.items()}
        values["parameters"] = dict(self.parameters)
        for optional in ("parameters", "grid"):
            if not values[optional]:
                del values[optional]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Undo to_dict; unknown names are refused, missing ones take their default."""
        unknown = set(values) - {f.name for f in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown settings: {sorted(unknown)}")
        settings = dict(values)
        for name in ("gold_weights", "l2"):
            if name in settings:
                settings[name] = tuple(float(v) for v in settings[name])
        if "grid" in settings:
            settings["grid"] = {key: tuple(float(v) for v in tries) for key, tries in settings["grid"].items()}
        return cls(**settings)


def float_to_json(value: float) -> float | str | None:
    """A float as strict JSON: "inf" for infinity, None for NaN."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else "inf"
