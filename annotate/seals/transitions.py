"""Decides whether a change of a sealed row is one that the program makes: by its values, or by an event that says so.

A rule looks at one change. An event explains a change only if no seal vouches for the event yet: the program stores
both in one transaction, so one seal takes both.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import orjson


@dataclass(frozen=True)
class Happened:
    """An event that no seal holds yet."""

    kind: str
    data: Mapping[str, Any]
    actor: str = ""  # the public id of the user who did it

    @cached_property
    def text(self) -> str:
        return orjson.dumps(self.data).decode()


@dataclass(frozen=True)
class Change:
    """A row's state as it was sealed, and as it is now (None: the row is gone); `names` names the row for events."""

    before: Mapping[str, Any]
    after: Mapping[str, Any] | None
    names: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[Happened] = ()

    def differing(self) -> dict[str, Any]:
        """The new values of the fields that changed; none of a row that is gone."""
        return {name: value for name, value in (self.after or {}).items() if value != self.before[name]}

    def of(self, name: str) -> "Change":
        """The change of this field alone."""
        return replace(self, before={name: self.before[name]}, after={name: (self.after or {})[name]})


@dataclass(frozen=True)
class Rule:
    """Whether the program makes such a change; `kinds`: the events that it may ask for an explanation."""

    allows: Callable[[Change], bool]
    kinds: frozenset[str] = frozenset()

    def __call__(self, change: Change) -> bool:
        return self.allows(change)


never = Rule(lambda change: False)  # nothing of it may change


def falls(name: str) -> Rule:
    """True becomes False, and never again True."""
    return Rule(lambda change: change.after is not None and bool(change.before[name]) and not change.after[name])


def ends_once(name: str) -> Rule:
    """What was not over is over from the time in the field `name` on; then nothing changes any more."""
    return Rule(lambda change: change.after is not None and change.before[name] is None)


def becomes(name: str, *values: Any) -> Rule:
    """The field `name` gets one of these values."""
    return Rule(lambda change: change.after is not None and change.after[name] in values)


def both(*rules: Rule) -> Rule:
    return Rule(lambda change: all(rule(change) for rule in rules), _kinds(rules))


def any_of(*rules: Rule) -> Rule:
    return Rule(lambda change: any(rule(change) for rule in rules), _kinds(rules))


def each(**rules: Rule) -> Rule:
    """Each field that changed follows its own rule."""
    return Rule(
        lambda change: change.after is not None and all(rules[name](change.of(name)) for name in change.differing()),
        _kinds(rules.values()),
    )


def explained(
    kinds: Collection[str],
    *,
    naming: str = "",
    acting: str = "",
    values: str | None = None,
    counts: str = "",
    where: Mapping[str, Any] | None = None,
    also: Mapping[str, str] | None = None,
) -> Rule:
    """An event of one of these kinds says so.

    naming: the event's data contains what this name of the row says; `counts`: unless the event counts more rows in
    this field than it names. acting: who did it is who this name of the row says. values: the event's data has, under
    this key ("": at its top), each new value. where: the data has these values. also: kinds of events that name no row,
    and the field that counts how many they changed.
    """

    def says(event: Happened, change: Change) -> bool:
        if event.kind in (also or {}):
            return bool(event.data.get((also or {})[event.kind]))
        if event.kind not in kinds or any(event.data.get(key) != value for key, value in (where or {}).items()):
            return False
        if naming and change.names[naming] not in event.text and not _names_some_only(event, counts):
            return False
        if acting and change.names[acting] != event.actor:
            return False
        if values is None or change.after is None:
            return True
        told = event.data.get(values, {}) if values else event.data
        return all(name in told and told[name] == value for name, value in change.differing().items())

    def rule(change: Change) -> bool:
        return any(says(event, change) for event in change.events)

    return Rule(rule, frozenset(kinds) | frozenset(also or {}))


def _kinds(rules: Iterable[Rule]) -> frozenset[str]:
    return frozenset[str]().union(*(rule.kinds for rule in rules))


def _names_some_only(event: Happened, counts: str) -> bool:
    """Whether the event changed more rows than it names."""
    named = event.data.get("items")
    return bool(counts) and isinstance(named, list) and int(event.data.get(counts, 0)) > len(named)
