"""What several models need: random public ids, the database's clock, and a check which texts can be stored."""

import secrets
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django.db import connection, models
from django.utils import timezone
from django.utils.dateparse import parse_datetime

time_zones = cache(available_timezones)  # cached, because it reads hundreds of files


def make_public_id() -> str:
    """A random id for addresses and files: 80 bits, too many to guess; in hex, so it needs no quoting in a shell."""
    return secrets.token_hex(10)


class PublicIdField(models.CharField):  # type: ignore[type-arg]
    """A row's unique random id for pages, the API and files, which never show its primary key.

    Tables that take many rows at once set `unique=False` and declare a UniqueConstraint instead: for a unique text
    column Django makes a second index on PostgreSQL, for searches by prefix, which no query makes.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        fixed = {"max_length": 20, "editable": False, "default": make_public_id}
        super().__init__(*args, **{"unique": True, **kwargs, **fixed})  # type: ignore[arg-type]

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "unique": self.unique}


def database_now() -> datetime:
    """The time by the database's clock, which all processes share. Leases are granted and expire by this clock."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")
            moment = parse_datetime(cursor.fetchone()[0])
            assert moment is not None
            return timezone.make_aware(moment, timezone.get_fixed_timezone(0))
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def is_storable(text: str) -> bool:
    """Whether SQLite and PostgreSQL can both store the text: it holds no NUL and no half of a surrogate pair."""
    return not any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in text)
