"""Decides what an import of a whole file would give, row by row as the import decides it. Stores nothing of it.

What the import would find in the database because of the chunks before, is remembered here on disk: memory does not
grow with the file.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

from django.conf import settings

from annotate import access
from annotate.formats import own_export
from annotate.formats.columns import check, unnamed_labels
from annotate.formats.dialect import Dialect
from annotate.formats.reader import Line, reader_of
from annotate.imports import confidence, ingest, uploads
from annotate.imports.label_columns import warning
from annotate.imports.rows import Kind, Known, ParsedRow, Rules, decide, read
from annotate.imports.writer import checked, rules_of, what_is_there
from annotate.models import Prediction, Project, Round, User

_COUNTS = (
    "n_rows", "n_items", "n_revived", "n_duplicates", "n_rejected", "n_gold", "n_silver", "n_silver_failed",
)  # fmt: skip
_KIND_COUNTS = {Kind.REVIVED: "n_revived", Kind.DUPLICATE: "n_duplicates", Kind.REJECTED: "n_rejected"}


def count(
    *,
    project: Project,
    by: User,
    upload: str,
    dialect: Mapping[str, Any],
    columns: Mapping[str, str | None],
    beat: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """What an import of the upload with this public id would give now, as counts, and its warnings.

    `n_gold` and the counts of silver speak of the new items alone.
    """
    access.require(by, project, to="manage")
    row, fields = uploads.find(project=project, public_id=upload), checked(columns, project)
    read_as = Dialect.from_json(dialect)
    reader = reader_of(read_as)
    schema = project.schemas.order_by("-version").first()
    rules = rules_of(project, schema, fields, reader)
    counts = Counter(dict.fromkeys(_COUNTS, 0))
    with uploads.opened(row) as file, closing(_Seen(project)) as seen:
        facts = reader.inspect(file, row.file_name, lambda: beat(0, 0), limit=settings.IMPORT_MAX_BYTES)
        names = reader.names(file)
        if not reader.is_typed:
            check(fields, rules.modality.FIELDS, names)
        own_export.check(fields, read_as)
        rules = confidence.scaled(rules, reader.lines(file))
        for chunk in ingest.chunks(reader, reader.lines(file)):
            counts.update(_of_chunk(chunk, rules, project, seen))
            beat(chunk[-1][0], facts.n_lines)
    warnings = [*reader.warnings, *warning(unnamed_labels(names, fields, rules.modality.FIELDS))]
    return {**counts, "warnings": warnings}


def _of_chunk(chunk: list[Line], rules: Rules, project: Project, seen: "_Seen") -> Counter[str]:
    """What the import would make of these rows, after those of the chunks before."""
    rows = [read(*line, rules) for line in chunk]
    parsed = [row for row in rows if isinstance(row, ParsedRow)]
    known, holders = what_is_there(project, parsed)
    seen.add_to(known, holders, parsed)
    admitted = decide(rows, known, holders, rules.reader.excerpt)
    with_silver = seen.with_silver(known)
    counts = Counter(_KIND_COUNTS[Kind(line.kind)] for line in admitted.lines)
    counts.update({"n_rows": len(rows), "n_items": len(admitted.new)})
    counts["n_gold"] += sum(item.id == 0 for item, _ in admitted.gold)
    for item, silver in admitted.silver:
        if item.id == 0 and id(item) not in with_silver:
            with_silver.add(id(item))
            counts["n_silver" if silver.status == Prediction.Status.OK else "n_silver_failed"] += 1
    seen.remember(known, holders, with_silver)
    return counts


class _Seen:
    """The contents and ids of the chunks before, in a nameless file that vanishes when it is closed."""

    def __init__(self, project: Project) -> None:
        self._takes_gold = not Round.objects.filter(project=project).exists()
        self._database = sqlite3.connect("")  # SQLite's own temporary file, held in memory while it is small
        self._database.execute(
            "CREATE TABLE item (hash TEXT PRIMARY KEY, is_new, is_withdrawn, gold, has_silver) WITHOUT ROWID"
        )
        self._database.execute("CREATE TABLE holder (external_id TEXT PRIMARY KEY, hash) WITHOUT ROWID")

    def close(self) -> None:
        self._database.close()

    def add_to(self, known: dict[str, Known], holders: dict[str, str], rows: list[ParsedRow]) -> None:
        """Make `known` and `holders`, as the database has them, what they would be after the chunks before."""
        for content_hash, is_new, is_withdrawn, gold, _ in self._items(row.content_hash for row in rows):
            if is_new:
                known[content_hash] = Known(0, "", takes_gold=self._takes_gold)
            known[content_hash].is_withdrawn = bool(is_withdrawn)
            known[content_hash].gold = gold or known[content_hash].gold  # gold is read only where rows carry some
        wanted = {row.external_id for row in rows if row.external_id is not None}
        for external_id, content_hash in self._select("holder", "external_id", wanted):
            holders.setdefault(external_id, content_hash)

    def with_silver(self, known: dict[str, Known]) -> set[int]:
        """Which of these objects are items that have silver already."""
        return {id(known[content_hash]) for content_hash, *_, has_silver in self._items(known) if has_silver}

    def remember(self, known: dict[str, Known], holders: dict[str, str], with_silver: set[int]) -> None:
        items = [
            (content_hash, item.id == 0, item.is_withdrawn, item.gold, id(item) in with_silver)
            for content_hash, item in known.items()
        ]
        self._database.executemany("INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?, ?)", items)
        self._database.executemany("INSERT OR REPLACE INTO holder VALUES (?, ?)", holders.items())

    def _items(self, hashes: Any) -> Iterator[tuple[Any, ...]]:
        return self._select("item", "hash", set(hashes))

    def _select(self, table: str, key: str, values: set[str]) -> Iterator[tuple[Any, ...]]:
        query = f"SELECT * FROM {table} WHERE {key} = ?"  # noqa: S608 (both are ours)
        for value in values:
            yield from self._database.execute(query, (value,))
