"""Decides what a nested field of a JSON object is called: by its path with dots, `data.text`."""

from collections.abc import Container, Iterator, Mapping
from itertools import chain
from typing import Any

_MAX_LEVELS = 5  # of objects in objects whose fields have names; deeper ones are one value
MAX_PATH = 1_000  # characters; a field with a longer path has no name of its own, and stays in its object


def paths(row: Mapping[str, Any], n_levels: int = _MAX_LEVELS, before: str = "") -> Iterator[str]:
    """The names of the row's fields; those of an object in it stand for the object, which has no name of its own.

    Names longer than MAX_PATH are left out: joined, they could be longer than the row by the square.
    """
    for name, value in row.items():
        if len(before) + len(name) > MAX_PATH:
            continue
        if isinstance(value, dict) and value and n_levels > 1:
            yield from paths(value, n_levels - 1, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """The value of the field `name`, or at that path; None where there is none. A field with dots in its name wins."""
    if name in row:
        return row[name]
    for outer, inner in _begun(row, name):
        if (found := value_at(inner, name[len(outer) + 1 :])) is not None:
            return found
    return None


def values(row: Mapping[str, Any], names: Container[str], *, is_flat: bool) -> Iterator[tuple[str, Any]]:
    """(name, value) of each field of the row that is one of `names`. The work grows with the row, not with the names.

    `is_flat`: no field of the row holds an object.
    """
    own = row if is_flat else dict.fromkeys(chain(row, paths(row)))
    return ((name, value_at(row, name)) for name in own if name in names)


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
    for outer, inner in _begun(row, name):
        if value_at(inner, name[len(outer) + 1 :]) is not None:
            rest = _without(inner, name[len(outer) + 1 :])
            return {key: rest if key == outer else value for key, value in row.items() if key != outer or rest}
    return dict(row)


def _begun(row: Mapping[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in the row with whose names the path begins, the shortest name first.

    A path may have hundreds of dots: of a row with fewer fields the fields are looked at, not the dots.
    """
    if "." not in name:
        return
    places = [place for place, character in enumerate(name) if character == "."]
    if len(row) < len(places):
        dots = set(places)
        places = sorted(len(key) for key in row if len(key) in dots and name.startswith(key))
    for place in places:
        if isinstance(inner := row.get(name[:place]), dict):
            yield name[:place], inner
