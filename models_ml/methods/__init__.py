"""The ways to learn, by name: what there is, and how one is made from the values that somebody chose.

Pages, the API and commands need two functions: `describe` to offer the methods, `build` to check what was chosen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from models_ml import registry
from models_ml.methods.contract import Diverged, Method, Need, unmet

__all__ = ["Description", "Diverged", "Method", "Need", "Parameter", "build", "describe", "find", "parsed", "unmet"]


@dataclass(frozen=True)
class Parameter:
    """One thing that people may set. All values are JSON: infinity is the word "inf".

    kind: "number", "integer" or "choice"; tries: the values that the search compares unless one is given, and then
    `default` only serves where the reference sample is too small to choose; low, high: None where there is no limit.
    """

    name: str
    kind: str
    default: float | str
    sentence: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    tries: tuple[float | str, ...]


@dataclass(frozen=True)
class Description:
    """What a page says of a method; `dataclasses.asdict` makes JSON of it.

    name: what people choose it by ("cross-entropy"), and what `build` takes. needs: what it takes from a project, each
    with its sentence (`Need.sentence`); `unmet` says which of them a project cannot serve.
    reproduces: "bits" or "seed", what a rebuild promises.
    """

    name: str
    title: str
    sentence: str
    source: str
    reproduces: str
    needs: tuple[Need, ...]
    parameters: tuple[Parameter, ...]


def describe() -> tuple[Description, ...]:
    """All methods in the order of the registry; loads no torch, so that a page may ask."""
    return tuple(_describe(find(name)) for name in registry.METHODS)


def build(name: str, parameters: Mapping[str, Any] | None = None) -> Method:
    """The method of this name with these parameters, the rest at their defaults.

    name: "cross-entropy" or, as stored, "cross_entropy". parameters: JSON values as `describe` lists them.
    Raises ValueError with a sentence for people, naming the method or the parameter, where a name is unknown, a value
    is of another type or lies out of range.
    """
    method = find(name)
    fields = {field.name: field for field in _settable(method)}
    given = dict(parameters or {})
    if unknown := sorted(set(given) - set(fields)):
        raise ValueError(
            f"The method {_public(method.name)} has no parameter {unknown[0]!r}; it has: {', '.join(sorted(fields))}."
        )
    return method(**{key: _checked(fields[key], value) for key, value in given.items()})


def find(name: str) -> type[Method]:
    """The class behind a name; ValueError with a sentence where there is none."""
    key = str(name).replace("-", "_")
    if key not in registry.METHODS:
        names = ", ".join(_public(known) for known in registry.METHODS)
        raise ValueError(f"There is no method {name!r}; choose one of {names}.")
    return cast("type[Method]", registry.find(registry.METHODS, key))


def parsed(text: str) -> float | str:
    """What a parameter's value means that was typed: a number where the text reads as one, else the text itself."""
    try:
        number = float(text)
    except ValueError:
        return text.strip()
    return number if math.isfinite(number) else text.strip()


def _public(name: str) -> str:
    return name.replace("_", "-")


def _describe(method: type[Method]) -> Description:
    return Description(
        name=_public(method.name),
        title=method.title,
        sentence=method.sentence,
        source=method.source,
        reproduces=method.reproduces,
        needs=tuple(need for need in Need if need in method.needs),
        parameters=tuple(_parameter(field, method) for field in _settable(method)),
    )


def _settable(method: type[Method]) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(method) if "sentence" in field.metadata]


def _parameter(field: dataclasses.Field[Any], method: type[Method]) -> Parameter:
    low, high = field.metadata["low"], field.metadata["high"]
    return Parameter(
        name=field.name,
        kind=_kind(field),
        default=_json(field.default),
        sentence=field.metadata["sentence"],
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        choices=field.metadata["choices"],
        tries=tuple(_json(value) for value in method.grid.get(field.name, ())),
    )


def _kind(field: dataclasses.Field[Any]) -> str:
    return {str: "choice", int: "integer"}.get(type(field.default), "number")


def _json(value: Any) -> Any:
    return "inf" if value == math.inf else value


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """The value as the method takes it; ValueError with a sentence where it cannot be."""
    kind, limits = _kind(field), field.metadata
    if kind == "choice":
        if value not in limits["choices"]:
            raise ValueError(f"{field.name} must be one of {', '.join(limits['choices'])}, not {value!r}.")
        return value
    number = _number(field.name, kind, value)
    if not limits["low"] <= number <= limits["high"]:
        raise ValueError(f"{field.name} must be {_range(limits['low'], limits['high'])}, not {value!r}.")
    return number


def _number(name: str, kind: str, value: Any) -> int | float:
    if value == "inf" and kind == "number":
        return math.inf
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an integer of hundreds of digits
        number = math.nan
    if math.isnan(number) or (kind == "integer" and not number.is_integer()):
        raise ValueError(f"{name} must be {'a whole number' if kind == 'integer' else 'a number'}, not {value!r}.")
    return int(number) if kind == "integer" else number


def _range(low: float, high: float) -> str:
    if math.isfinite(low) and math.isfinite(high):
        return f"between {low:g} and {high:g}"
    return f"at least {low:g}" if math.isfinite(low) else f"at most {high:g}"
