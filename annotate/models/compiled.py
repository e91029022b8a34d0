"""The four hottest queries of the labeling screen: compiled once from their queryset, and afterwards only filled in.

Django makes the SQL of a queryset anew each time, which for a query with a dozen subqueries takes 7 ms of processor
time, ten times as long as SQLite needs to answer it. The text differs from time to time only in its values. Whoever
compiles a fifth measures first: six simpler queries were compiled too, and gained 0.1 to 0.8 ms each.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, models
from django.db.models import QuerySet, Value
from django.db.models.query import get_related_populators


class Param(Value):
    """Stands in a queryset for a value that is known only when it is asked."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


@dataclass(frozen=True)
class Statement:
    """SQL, what fills it, and how its rows become objects."""

    sql: str
    places: tuple[Any, ...]  # values that are always the same, and Params
    converters: list[tuple[int, list[Callable[..., Any]], Any]]  # column, functions, expression
    model: type[models.Model]
    fields: list[str]  # the model's columns, which come first
    related: list[Any]
    annotations: list[tuple[str, int]]

    def values(self, given: dict[str, Any]) -> list[Any]:
        """What the database takes in the places of the SQL."""
        adapt = connection.ops.adapt_datetimefield_value
        stored = {name: adapt(value) if isinstance(value, datetime) else value for name, value in given.items()}
        return [stored[place.value] if isinstance(place, Param) else place for place in self.places]

    def made(self, values: Sequence[Any]) -> Any:
        """The model's object with all that was selected beside it, as a queryset would make it."""
        row = list(values)
        for column, functions, expression in self.converters:
            for function in functions:
                row[column] = function(row[column], expression, connection)
        found = self.model.from_db(connection.alias, self.fields, row[: len(self.fields)])
        for populator in self.related:
            populator.populate(row, found)
        for name, column in self.annotations:
            setattr(found, name, row[column])
        return found


class CompiledQuery:
    """One query of which only the values change. `build` makes its queryset from keyword arguments.

    `fields` names these arguments, each with the kind of column that its values would fit. What `build` takes
    beside them is the query's shape (for instance how many rows): it comes first, by place, and each shape is
    compiled once. The values must never decide the shape: where None means something, `build` says it in SQL.
    """

    def __init__(self, build: Callable[..., QuerySet[Any]], **fields: "models.Field[Any, Any]") -> None:
        self._build = build
        self._params = {name: Param(name, output_field=field) for name, field in fields.items()}
        # By thread: what Django compiled holds on to the thread's connection, and must not outlive it.
        self._compiled = threading.local()

    def objects(self, *shape: Any, **values: Any) -> list[Any]:
        statement = self.statement(*shape)
        with _cursor() as cursor:
            cursor.execute(statement.sql, statement.values(values))
            return [statement.made(row) for row in cursor.fetchall()]

    def statement(self, *shape: Any) -> Statement:
        known = self._compiled.__dict__
        key = repr((connection.vendor, shape))
        if key not in known:
            known[key] = _compile(self._build(*shape, **self._params))
        return known[key]  # type: ignore[no-any-return]


def _compile(queryset: QuerySet[Any]) -> Statement:
    compiler: Any = queryset.query.get_compiler(connection=connection)
    sql, places = compiler.as_sql()
    columns = [column for column, *_ in compiler.select]
    known = compiler.klass_info
    populators: Any = get_related_populators
    own = known["select_fields"]
    assert own == list(range(len(own))), "annotations come behind the model's columns"
    return Statement(
        sql=sql,
        places=tuple(places),
        converters=[(place, *found) for place, found in compiler.get_converters(columns).items()],
        model=known["model"],
        fields=[columns[place].target.attname for place in own],
        related=populators(known, compiler.select, connection.alias),
        annotations=list((compiler.annotation_col_map or {}).items()),
    )


def _cursor() -> Any:
    """On PostgreSQL one that keeps the plan of what it is asked often: planning a dozen subqueries takes it 3 ms, five
    times as long as answering them. (OPTIONS["prepare_threshold"]; Django's own cursors plan each time.)
    """
    if connection.vendor != "postgresql":
        return connection.cursor()
    from django.db.backends.postgresql.base import ServerBindingCursor

    connection.ensure_connection()
    # What `connection.cursor()` does with a cursor: errors become Django's, and queries are counted where asked.
    cursor: Any = ServerBindingCursor
    return connection._prepare_cursor(cursor(connection.connection))  # type: ignore[attr-defined]
