"""Compares text without its letter case, alike on both databases and in Python.

SQLite ignores case only for ASCII letters in LIKE and lower(), PostgreSQL as its locale says. Here both change to lower
and then to upper case by Unicode's full mappings, so that ß equals ss and a final ς equals σ (Unicode, section 3.13).
"""

from typing import Any

from django.db.models import BooleanField, Func, TextField, Value

_SQL = 'upper(lower(({}) COLLATE "und-x-icu"))'  # ICU's rules, whatever locale the database was made with


def without_case(text: str) -> str:
    """The text as it is compared: equal for two texts that differ only in letter case."""
    return text.upper() if text.isascii() else text.lower().upper()


class WithoutCase(Func):
    """`without_case` of a column."""

    function = "WITHOUT_CASE"
    arity = 1
    output_field = TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template=_SQL.format("%(expressions)s"))


class Contains(Func):
    """Whether a column holds the text, in whatever letter case; false where the column is NULL."""

    function = "CONTAINS_WITHOUT_CASE"
    output_field = BooleanField()

    def __init__(self, expression: Any, text: str) -> None:
        super().__init__(expression, Value(without_case(text), output_field=TextField()))

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        column, text = self.source_expressions
        inside, given = compiler.compile(column)
        wanted, params = compiler.compile(text)
        return f"coalesce(strpos({_SQL.format(inside)}, {wanted}::text) > 0, false)", [*given, *params]


def give_sqlite_its_functions(connection: Any, **_signal: Any) -> None:
    """Receiver of `connection_created`: SQLite calls these two functions in Python."""
    if connection.vendor == "sqlite":
        create = connection.connection.create_function
        create("WITHOUT_CASE", 1, _folded, deterministic=True)
        create("CONTAINS_WITHOUT_CASE", 2, _contains, deterministic=True)


def _folded(text: str | None) -> str | None:
    return None if text is None else without_case(text)


def _contains(text: object, wanted: str) -> bool:
    return text is not None and wanted in without_case(str(text))
