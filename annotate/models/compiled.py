"""Queries that are asked many times a second: compiled once from their queryset, and afterwards only filled in.

Django makes the SQL of a queryset anew each time, which for a query with a dozen subqueries takes 5 ms of processor
time, twenty times as long as SQLite needs to answer it. The text differs from time to time only in its values.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, models
from django.db.models import QuerySet, Value
from django.db.models.query import get_related_populators
from django.db.models.sql import UpdateQuery


class Param(Value):
    """Stands in a queryset for a value that is known only when it is asked."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


@dataclass(frozen=True)
class _Statement:
    """SQL and what fills it: values that are always the same, and Params."""

    sql: str
    places: tuple[Any, ...]

    def filled(self, values: dict[str, Any]) -> list[Any]:
        return [values[place.value] if isinstance(place, Param) else place for place in self.places]


@dataclass(frozen=True)
class _Select(_Statement):
    converters: list[tuple[int, list[Callable[..., Any]], Any]]  # column, functions, expression
    model: type[models.Model]
    fields: tuple[int, list[str]]  # where the model's columns end (they come first), and what they are
    related: list[Any]
    annotations: list[tuple[str, int]]

    def rows(self, values: dict[str, Any]) -> list[Sequence[Any]]:
        with _cursor() as cursor:
            cursor.execute(self.sql, self.filled(values))
            return [self._converted(list(row)) for row in cursor.fetchall()]

    def made(self, row: Sequence[Any]) -> Any:
        """The model's object with all that was selected beside it, as a queryset would make it."""
        end, names = self.fields
        found = self.model.from_db(connection.alias, names, row[:end])
        for populator in self.related:
            populator.populate(row, found)
        for name, column in self.annotations:
            setattr(found, name, row[column])
        return found

    def _converted(self, row: list[Any]) -> list[Any]:
        for column, functions, expression in self.converters:
            for function in functions:
                row[column] = function(row[column], expression, connection)
        return row


class CompiledQuery:
    """One query of which only the values change. `build` makes its queryset from keyword arguments.

    `fields` names these arguments, each with the kind of column that its values would fit. What `build` takes
    beside them is the query's shape (for instance how many rows): it comes first, by place, and each shape is
    compiled once. The values must never decide the shape: where None means something, `build` says it in SQL.
    """

    def __init__(self, build: Callable[..., Any], **fields: "models.Field[Any, Any]") -> None:
        self._build = build
        self._fields = fields
        # By thread: what Django compiled holds on to the thread's connection, and must not outlive it.
        self._compiled = threading.local()

    def queryset(self, *shape: Any, **values: Any) -> Any:
        """The same as Django would ask it, for whoever wants to compare."""
        given = {name: Value(values[name], output_field=field) for name, field in self._fields.items()}
        return self._build(*shape, **given)

    def objects(self, *shape: Any, **values: Any) -> list[Any]:
        select = self._statement(shape)
        return [select.made(row) for row in select.rows(_stored(values))]

    def run(self, *shape: Any, **values: Any) -> int:
        """For an update, see CompiledUpdate: how many rows changed."""
        statement = self._statement(shape)
        with _cursor() as cursor:
            cursor.execute(statement.sql, statement.filled(_stored(values)))
            return int(cursor.rowcount)

    def _statement(self, shape: tuple[Any, ...]) -> Any:
        known = self._compiled.__dict__
        key = repr((connection.vendor, shape))
        if key not in known:
            params = {name: Param(name, output_field=field) for name, field in self._fields.items()}
            known[key] = self._compile(self._build(*shape, **params))
        return known[key]

    def _compile(self, queryset: QuerySet[Any]) -> _Statement:
        compiler: Any = queryset.query.get_compiler(connection=connection)
        sql, places = compiler.as_sql()
        columns = [column for column, *_ in compiler.select]
        converters = [(place, *found) for place, found in compiler.get_converters(columns).items()]
        known = compiler.klass_info
        populators: Any = get_related_populators
        own = known["select_fields"]
        assert own == list(range(len(own))), "annotations come behind the model's columns"
        fields = [columns[place].target.attname for place in own]
        return _Select(
            sql,
            tuple(places),
            converters,
            known["model"],
            (len(own), fields),
            populators(known, compiler.select, connection.alias),
            list((compiler.annotation_col_map or {}).items()),
        )


class CompiledUpdate(CompiledQuery):
    """The same for an update: `build` gives the rows and, in a dict, what is set in them."""

    def _compile(self, built: tuple[QuerySet[Any], dict[str, Any]]) -> _Statement:  # type: ignore[override]
        queryset, changes = built
        query: Any = queryset.query.chain(UpdateQuery)
        query.add_update_values(changes)
        query.clear_ordering(force=True)
        sql, places = query.get_compiler(connection=connection).as_sql()
        return _Statement(sql, tuple(places))


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


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    """Values as the database takes them."""
    adapt = connection.ops.adapt_datetimefield_value
    return {name: adapt(value) if isinstance(value, datetime) else value for name, value in values.items()}
