"""Querysets that are compiled to SQL once and run many times a second with other values.

Django compiles a queryset each time it runs. For a query with a dozen subqueries that takes 5 ms of processor time,
twenty times as long as SQLite needs to run it, although only the values in the SQL change.
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
    """A named placeholder in a queryset, for a value that is known only when the query runs."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


@dataclass(frozen=True)
class _Statement:
    """SQL, and for each of its %s either a fixed value or the Param whose value goes there."""

    sql: str
    places: tuple[Any, ...]

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The list of values for the SQL; `values` by the names of the Params."""
        return [values[place.value] if isinstance(place, Param) else place for place in self.places]


@dataclass(frozen=True)
class _Select(_Statement):
    """A compiled SELECT, with what Django knows of its columns, to make model objects from rows."""

    converters: list[tuple[int, list[Callable[..., Any]], Any]]  # column, functions, expression
    model: type[models.Model]
    fields: tuple[int, list[str]]  # how many columns are the model's own (they come first), and their names
    related: list[Any]
    annotations: list[tuple[str, int]]

    def rows(self, values: dict[str, Any]) -> list[Sequence[Any]]:
        with _cursor() as cursor:
            cursor.execute(self.sql, self.arguments(values))
            return [self._converted(list(row)) for row in cursor.fetchall()]

    def instance(self, row: Sequence[Any]) -> Any:
        """The model object of a row, with its related objects and annotations, as a queryset would make it."""
        end, names = self.fields
        instance = self.model.from_db(connection.alias, names, row[:end])
        for populator in self.related:
            populator.populate(row, instance)
        for name, column in self.annotations:
            setattr(instance, name, row[column])
        return instance

    def _converted(self, row: list[Any]) -> list[Any]:
        for column, functions, expression in self.converters:
            for function in functions:
                row[column] = function(row[column], expression, connection)
        return row


class CompiledQuery:
    """A query that is compiled once and run with other values each time. `build` makes its queryset.

    `fields`: the keyword arguments of `build` that are such values, each with a model field of its type. Positional
    arguments of `build` are the query's shape (for instance how many rows); each shape is compiled once. A value must
    not change the shape: where None has a meaning, `build` expresses it in SQL.
    """

    def __init__(self, build: Callable[..., Any], **fields: "models.Field[Any, Any]") -> None:
        self._build = build
        self._fields = fields
        # Per thread: what Django compiles refers to the thread's connection and must not outlive it.
        self._compiled = threading.local()

    def queryset(self, *shape: Any, **values: Any) -> Any:
        """The queryset with these values, for comparing results and plans with those of the compiled query."""
        constants = {name: Value(values[name], output_field=field) for name, field in self._fields.items()}
        return self._build(*shape, **constants)

    def objects(self, *shape: Any, **values: Any) -> list[Any]:
        """Run the query: the model objects that it finds."""
        select = self._statement(shape)
        return [select.instance(row) for row in select.rows(_stored(values))]

    def run(self, *shape: Any, **values: Any) -> int:
        """Run an update (CompiledUpdate); returns how many rows it changed."""
        statement = self._statement(shape)
        with _cursor() as cursor:
            cursor.execute(statement.sql, statement.arguments(_stored(values)))
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
        converters = [(column, *how) for column, how in compiler.get_converters(columns).items()]
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
    """An UPDATE that is compiled once: `build` returns the queryset of its rows and a dict of the fields to set."""

    def _compile(self, built: tuple[QuerySet[Any], dict[str, Any]]) -> _Statement:  # type: ignore[override]
        queryset, changes = built
        query: Any = queryset.query.chain(UpdateQuery)
        query.add_update_values(changes)
        query.clear_ordering(force=True)
        sql, places = query.get_compiler(connection=connection).as_sql()
        return _Statement(sql, tuple(places))


def _cursor() -> Any:
    """A cursor; on PostgreSQL, one that lets the server keep the plans of frequent queries (prepare_threshold).

    Planning a dozen subqueries takes 3 ms, five times as long as running them; with Django's own cursors PostgreSQL
    plans each time.
    """
    if connection.vendor != "postgresql":
        return connection.cursor()
    from django.db.backends.postgresql.base import ServerBindingCursor

    connection.ensure_connection()
    # As `connection.cursor()` does: database errors become Django's, and queries are logged where that is on.
    cursor: Any = ServerBindingCursor
    return connection._prepare_cursor(cursor(connection.connection))  # type: ignore[attr-defined]


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    """The values in the form that the database driver takes."""
    adapt = connection.ops.adapt_datetimefield_value
    return {name: adapt(value) if isinstance(value, datetime) else value for name, value in values.items()}
