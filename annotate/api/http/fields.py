"""Serializer fields and base classes of bodies, queries and answers: exact types, and no keys but the declared ones.

The docstrings of serializers are part of the OpenAPI document.
"""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

_BIGGEST = 2**63 - 1  # of a column
_LONGEST_PAGE, _USUAL_PAGE = 200, 50


class Text(serializers.CharField):
    """A JSON string; numbers and flags are refused instead of converted."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Integer(serializers.IntegerField):
    """A JSON integer that fits into a database column; strings and flags are refused."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 0, "max_value": _BIGGEST, **kwargs})

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class Number(serializers.FloatField):
    """A JSON number; strings and flags are refused."""

    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """JSON true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Choice(serializers.ChoiceField):
    """One of some JSON strings."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class PublicId(Text):
    """The public id of a row; primary keys are never shown."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 20, **kwargs})


class Input(serializers.Serializer[Any]):
    """A body or a query. A key that is not asked for is refused: a typo must not pass as a wish fulfilled."""

    default_error_messages = {"unknown": _("There is no such field here.")}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := [str(key) for key in data if key not in self.fields]):
            raise serializers.ValidationError({key: [self.error_messages["unknown"]] for key in unknown})
        return super().to_internal_value(data)


class PageQuery(Input):
    limit = serializers.IntegerField(
        min_value=1, max_value=_LONGEST_PAGE, default=_USUAL_PAGE, help_text="How many at most, 1 to 200."
    )
    after = serializers.CharField(
        max_length=64, required=False, help_text="Where the page before ended: taken from its `next`, of no meaning."
    )


class Output(serializers.Serializer[Any]):
    """A part of an answer: only the fields that are named."""


class Problem(Output):
    """What went wrong, as RFC 9457 has it. `type` names the kind for programs, `detail` is a sentence for people."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="Per field that was sent, what is wrong with it.",
    )
