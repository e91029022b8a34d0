"""Decides what a nested field of a JSON object is called: by its path with dots, `data.text`."""

from collections.abc import Iterator, Mapping
from typing import Any

_MAX_LEVELS = 5  # of objects in objects whose fields have names; deeper ones are one value


def paths(row: Mapping[str, Any], n_levels: int = _MAX_LEVELS) -> Iterator[str]:
    """The names of the row's fields; those of an object in it stand for the object, which has no name of its own."""
    for name, value in row.items():
        if isinstance(value, dict) and value and n_levels > 1:
            yield from (f"{name}.{inner}" for inner in paths(value, n_levels - 1))
        else:
            yield name


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """The value of the field `name`, or at that path; None where there is none. A field with dots in its name wins."""
    if name in row:
        return row[name]
    for place in (place for place, character in enumerate(name) if character == "."):
        inner = row.get(name[:place])
        if isinstance(inner, dict) and (found := value_at(inner, name[place + 1 :])) is not None:
            return found
    return None


def lifted(row: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """The row with its fields at these paths at the top, under the path as name, and no longer where they were."""
    for name in names:
        if name not in row and (value := value_at(row, name)) is not None:
            row = {**_without(row, name), name: value}
    return row


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The row without the field at this path, and without objects that are empty then."""
    if name in row:
        return {key: value for key, value in row.items() if key != name}
    for place in (place for place, character in enumerate(name) if character == "."):
        inner = row.get(name[:place])
        if isinstance(inner, dict) and value_at(inner, name[place + 1 :]) is not None:
            rest = _without(inner, name[place + 1 :])
            return {
                key: rest if key == name[:place] else value for key, value in row.items() if key != name[:place] or rest
            }
    return dict(row)
