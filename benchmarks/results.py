"""Keeps what a long benchmark has found, so that it can be stopped and goes on where it was."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Results:
    """Records of a JSON Lines file, found again by the fields that say what was run; None: nothing is kept."""

    def __init__(self, path: Path | None, identity: Sequence[str]) -> None:
        self._path, self._identity = path, tuple(identity)
        self._found = {self._key(record): record for record in _read(path)} if path else {}

    def get(self, cell: Mapping[str, Any]) -> dict[str, Any] | None:
        """The record of this cell, if it has been run."""
        return self._found.get(self._key(cell))

    def add(self, record: Mapping[str, Any]) -> None:
        """Keep a record; it is in the file when this returns."""
        self._found[self._key(record)] = dict(record)
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def _key(self, record: Mapping[str, Any]) -> str:
        return json.dumps([record.get(name) for name in self._identity])


def _read(path: Path) -> list[dict[str, Any]]:
    """What stands in the file; the last line may be half, if somebody stopped the run that wrote it."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole, end, half = text.rpartition("\n")
    if half:
        path.write_text(whole + end, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines() if line.strip()]
