"""Many rows of one table at once, where building a model object for each would cost most of the time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from django.db import connection, models

T = TypeVar("T")

# How many rows at once. What takes another number says why beside it.
ROWS_PER_INSERT = 1_000  # the statement's own cost is spread over enough rows, and its text stays small
IDS_PER_QUERY = 2_000  # named in one IN: far below what SQLite takes, and PostgreSQL plans it in a millisecond
ROWS_PER_PAGE = 2_000  # read with their texts, for instance for a download: a few MB at most
ROWS_PER_ARRAY_READ = 10_000  # of a few numbers each, on their way into arrays

_CHECKPOINT_PAGES = 16_000  # of 4 KB


def insert(model: type[models.Model], fields: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows whose values the database takes as they are: JSON as text, times through `stored`."""
    columns = ", ".join(_column(model, field) for field in fields)
    places = ", ".join(["%s"] * len(fields))
    table = connection.ops.quote_name(model._meta.db_table)
    if connection.vendor == "postgresql":
        _copy(f"COPY {table} ({columns}) FROM STDIN", rows)
        return
    with connection.cursor() as cursor:
        # Table and columns come from the models, never from people.
        cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", list(rows))  # noqa: S608


def matching(
    model: type[models.Model],
    fields: Sequence[str],
    *,
    field: str,
    among: Sequence[Any],
    where: str = "",
    **equal: Any,
) -> list[tuple[Any, ...]]:
    """The values of `fields` in rows whose `field` is one of `among`: an `__in` of thousands is slow.

    `where` is more SQL about the same row, for instance to fit a partial index; it never comes from people.
    """
    if not among:
        return []
    columns = ", ".join(_column(model, name) for name in fields)
    tests = [f"{_column(model, name)} = %s" for name in equal]
    # PostgreSQL reads one array faster than thousands of values.
    values = [list(among)] if connection.vendor == "postgresql" else among
    some = "= ANY(%s)" if connection.vendor == "postgresql" else f"IN ({', '.join(['%s'] * len(among))})"
    tests.append(f"{_column(model, field)} {some}")
    tests += [where] if where else []
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM {table} WHERE {' AND '.join(tests)}",  # noqa: S608
            [*equal.values(), *values],
        )
        return cursor.fetchall()


@contextmanager
def few_checkpoints() -> Iterator[None]:
    """While many rows come in, SQLite moves its log into the database every 64 MB instead of every 4 MB.

    Random keys touch most pages of an index in every transaction; moving each page once for many transactions
    nearly halves what is written. Durability is not touched: commits still wait for the log to be on disk.
    """
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_autocheckpoint")
        (usual,) = cursor.fetchone()
        cursor.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA wal_autocheckpoint={int(usual)}")


def parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """All values, as many at a time as one query may name."""
    for start in range(0, len(values), IDS_PER_QUERY):
        yield values[start : start + IDS_PER_QUERY]


def stored(moment: datetime) -> Any:
    """A time as the database keeps it."""
    return connection.ops.adapt_datetimefield_value(moment)


def _copy(statement: str, rows: Iterable[Sequence[Any]]) -> None:
    """PostgreSQL's own way for many rows: no statement per row to plan, no answer per row to wait for."""
    # Django names only the errors of execute and fetch; here a broken constraint is an IntegrityError too.
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _column(model: type[models.Model], field: str) -> str:
    column = model._meta.get_field(field).column  # type: ignore[union-attr]
    assert column is not None
    return connection.ops.quote_name(column)
