"""Imports answers of named people from a JSON Lines file, by the functions that the labeling page uses."""

import hashlib
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotate import access, labels, projects
from annotate.errors import Conflict, GoldloopError, InvalidInput
from annotate.formats import jsonl
from annotate.label_names import matcher, said, why_none
from annotate.labeling import answers, leases, queue
from annotate.models import Annotation, Lease, Project, QueueEntry, Round, User
from annotate.models.event import record
from annotate.runs import lifecycle

_CHUNK = 200  # lines per transaction: a lost process loses at most so many


@dataclass
class Result:
    """What became of the file's lines."""

    n_stored: int = 0
    n_known: int = 0  # lines whose answer was stored before
    refused: list[tuple[int, str]] = field(default_factory=list)  # line number, reason


def import_annotations(*, project: Project, path: Path, by: User, show: lifecycle.Show | None = None) -> Result:
    """Store each line's answer to a question of the open round; a bad line is refused alone, with its reason.

    Leases, slots and the gold rule apply as on the labeling page. Conflict if no round is open.
    """
    access.require(by, project, to="manage")
    current = project.rounds.filter(state=Round.State.OPEN).first()
    if current is None:
        raise Conflict(_("%(project)s has no open round; draw one with `sample` first.") % {"project": project})
    result = Result()
    with (
        jsonl.opened(path) as file,
        lifecycle.start(kind="import_annotations", project=project, by=by, show=show) as attempt,
    ):
        facts = jsonl.inspect(file, path)
        reader = _Reader(project, current, facts.sha256)
        lines = (line for line in jsonl.lines(file) if line[1].strip())
        while chunk := list(islice(lines, _CHUNK)):
            with transaction.atomic():
                for number, line, is_whole in chunk:
                    _take(reader, number, line if is_whole else None, result)
                attempt.write(chunk[-1][0], facts.n_lines)
        record(
            "annotations.imported",
            project=project,
            by=by,
            round=current.index,
            n_stored=result.n_stored,
            n_refused=len(result.refused),
        )
    return result


def _take(reader: "_Reader", number: int, line: bytes | None, result: Result) -> None:
    try:
        if line is None:
            raise InvalidInput(_("is longer than %(most)s bytes") % {"most": f"{jsonl.MAX_LINE_BYTES:,}"})
        with transaction.atomic():
            is_new = reader.store(number, line)
    except GoldloopError as error:
        result.refused.append((number, str(error)))
        return
    result.n_stored += is_new
    result.n_known += not is_new


class _Reader:
    """Stores lines of one file as answers to questions of one round."""

    def __init__(self, project: Project, current: Round, file_sha256: str) -> None:
        self._history = labels.history(projects.current_schema(project))
        self._labels = self._history.labels
        self._matcher = matcher(self._labels)
        self._project, self._round, self._sha256 = project, current, file_sha256
        self._people: dict[str, User] = {}

    def store(self, number: int, line: bytes) -> bool:
        """Store one line's answer; False if it was stored before, or if the person's current answer says the same."""
        row = jsonl.parse(line)
        person = self._person(row)
        entry = self._entry(row)
        answer = self._answer(row)
        # The same file read twice gives the same keys, so nothing is stored twice.
        key = hashlib.sha256(f"file:{self._sha256}:{number}:{self._round.public_id}".encode()).hexdigest()
        if Annotation.objects.filter(idempotency_key=key).exists():
            return False
        mine = Annotation.objects.filter(entry=entry, annotator=person, is_current=True).first()
        if mine is not None:
            now = self._history.gold_label(mine.label_id)
            is_void = mine.label_id is not None and now is None
            is_same = not is_void and now == answer.label and mine.skip_reason == answer.skip_reason
            if is_same and not queue.may_be_asked_again(person, entry):
                return False
            if mine.label is not None and (mine.is_counted or not is_void):
                lease = Lease.objects.filter(entry=entry, annotator=person).latest("pk")
                answers.change(lease_id=lease.public_id, project=self._project, answer=answer, key=key, by=person)
                return True
        lease = leases.lease(entry=entry, annotator=person)
        answers.submit(lease_id=lease.public_id, project=self._project, answer=answer, key=key, by=person)
        return True

    def _person(self, row: dict[str, Any]) -> User:
        email = row.get("annotator")
        if not isinstance(email, str):
            raise InvalidInput(_('has no "annotator" (an e-mail)'))
        if email not in self._people:
            user = User.objects.filter(email=email.strip().lower()).first()
            if user is None or access.membership(user, self._project) is None:
                raise InvalidInput(
                    _("%(email)s is not a member of %(project)s") % {"email": repr(email), "project": self._project}
                )
            self._people[email] = user
        return self._people[email]

    def _entry(self, row: dict[str, Any]) -> QueueEntry:
        queue = QueueEntry.objects.filter(round=self._round).select_related("round__project", "item")
        if isinstance(row.get("item"), str):
            entry, name = queue.filter(item__public_id=row["item"]).first(), row["item"]
        elif isinstance(row.get("id"), str | int):
            entry, name = queue.filter(item__external_id=str(row["id"])).first(), row["id"]
        else:
            raise InvalidInput(_('has neither "id" nor "item"'))
        if entry is None:
            raise InvalidInput(
                _("%(name)s is not asked in round %(index)s") % {"name": repr(name), "index": self._round.index}
            )
        return entry

    def _answer(self, row: dict[str, Any]) -> answers.Answer:
        seconds = row.get("seconds")
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
            raise InvalidInput(_('"seconds" is not a number'))
        if row.get("skip") is not None and row.get("label") is not None:
            raise InvalidInput(_('has both "label" and "skip"'))
        if row.get("skip") is not None:
            return answers.Answer(skip_reason=str(row["skip"]), seconds=seconds)
        value = row.get("label")
        label = self._matcher.find(value)
        if label is None:
            names = ", ".join(one.name for one in self._labels[:12])
            reason = why_none(value) if isinstance(value, list) else f"{said(value)} is not one of the labels"
            raise InvalidInput(_("%(reason)s: %(names)s") % {"reason": reason, "names": names})
        return answers.Answer(label=label, seconds=seconds)
