"""What several models share: random public ids, the database's clock, and which texts can be kept."""

import secrets
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django.db import connection, models
from django.utils import timezone
from django.utils.dateparse import parse_datetime

time_zones = cache(available_timezones)  # it walks through hundreds of files


def make_public_id() -> str:
    """A random id for the outside: 80 bits, so it cannot be guessed; hex, so it is safe in a shell."""
    return secrets.token_hex(10)


class PublicIdField(models.CharField):  # type: ignore[type-arg]
    """Unique random id shown outside; the bigint primary key stays inside.

    `unique=False` for a table that takes many rows at once, with a UniqueConstraint in its place: for a unique text
    Django gives PostgreSQL a second index, for searches by how it begins, which nobody makes.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        fixed = {"max_length": 20, "editable": False, "default": make_public_id}
        super().__init__(*args, **{"unique": True, **kwargs, **fixed})  # type: ignore[arg-type]

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "unique": self.unique}


def database_now() -> datetime:
    """The database's clock, which every process shares; lease times come from it and nowhere else."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")
            moment = parse_datetime(cursor.fetchone()[0])
            assert moment is not None
            return timezone.make_aware(moment, timezone.get_fixed_timezone(0))
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def is_storable(text: str) -> bool:
    """Whether every database can keep this text: no NUL, and no half of a surrogate pair."""
    return not any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in text)
