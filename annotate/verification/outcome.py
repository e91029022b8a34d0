"""Decides what a check may say: what is wrong, and what it could not look at. Silence means that all was looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.db import DatabaseError

from annotate.errors import GoldloopError
from annotate.models import Project
from annotate.models.snapshot import read_snapshot

_MOST = 20  # problems that one check names; whoever changed a table changed thousands of rows


@dataclass(frozen=True)
class NotChecked:
    """What a check could not look at, and why: it is neither wrong nor right. `is_part`: it looked at the rest."""

    reason: str
    is_part: bool = False


Finding = str | NotChecked  # a sentence that names the row that is wrong, or what was not looked at
Check = Callable[[Project], Iterator[Finding]]


@dataclass
class Outcome:
    """What a check found; `is_ok`: it looked at all, and nothing is wrong."""

    problems: list[str] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)

    @property
    def is_ok(self) -> bool:
        return not self.problems and not self.not_checked


def outcome(check: Check, project: Project) -> Outcome:
    """What `check` finds in the project, all rows read at one point in time; it stops after `_MOST` problems."""
    found = Outcome()
    try:
        with read_snapshot():
            for finding in check(Project.objects.get(pk=project.pk)):
                if isinstance(finding, NotChecked):
                    found.not_checked.append(finding)
                else:
                    found.problems.append(finding)
                if len(found.problems) == _MOST:
                    break
    except GoldloopError as error:  # a damaged file is a violation
        found.problems.append(str(error))
    except DatabaseError:
        raise
    except Exception as error:  # rows that no part of the program could have written, so that reading them breaks off
        found.problems.append(f"the check broke off, as rows do not fit together ({error!r})")
    return found
