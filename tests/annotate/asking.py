"""What the tests of leases, answers and gold share: answers in one line, problems, statements."""

import itertools

from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotate import label_changes, projects, verification
from annotate.labeling import answers, leases
from annotate.models import Draw, Label, Lease, QueueEntry
from annotate.models.project import Arm
from tests.factories import owner_of

_keys = itertools.count(1)
_LOCK = "ORDER BY 1 ASC FOR UPDATE"  # of rows that are updated next; SQLite has one writer and needs none
_CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")


def question(project, arm=Arm.RANDOM):
    drawn = Draw.objects.filter(project=project, arm=arm).values("item")
    return QueueEntry.objects.filter(round__project=project, item__in=drawn, state=QueueEntry.State.OPEN).first()


def label(project, name="yes"):
    return Label.objects.get(schema=projects.current_schema(project), name=name)


def said(project, name="yes", **more):
    """An answer: the name of a label, or `skip`."""
    if name == "skip":
        return answers.Answer(skip_reason="unclear", **more)
    return answers.Answer(label=label(project, name), **more)


def submit(lease, name="yes", by=None, key=None, now=None, **more):
    project = lease.entry.round.project
    return answers.submit(
        lease_id=lease.public_id,
        project=project,
        answer=said(project, name, **more),
        key=key or f"key {next(_keys)}",
        by=by or lease.annotator,
        now=now,
    )


def answer(entry, person, name="yes", **more):
    return submit(leases.lease(entry=entry, annotator=person), name, **more)


def change(entry, person, name, key=None, **more):
    project = entry.round.project
    lease = Lease.objects.filter(entry=entry, annotator=person).latest("pk")
    return answers.change(
        lease_id=lease.public_id,
        project=project,
        answer=said(project, name, **more),
        key=key or f"key {next(_keys)}",
        by=person,
    )


def change_labels(project, rows):
    """The next version of the labels: a name that stays, or (name, what it was)."""
    new = [(row, (row,)) if isinstance(row, str) else row for row in rows]
    plan = [label_changes.NextLabel(projects.NewLabel(name), was=tuple(was)) for name, was in new]
    return label_changes.change(project=project, new=plan, by=owner_of(project))


def take(project, person, n=1, **more):
    return leases.lease_next(project=project, annotator=person, n=n, **more)


def leave_open(project, n):
    """Only the first `n` questions are asked."""
    QueueEntry.objects.filter(round__project=project, position__gt=n).delete()


def state_of(entry):
    entry.refresh_from_db()
    return entry.n_taken, entry.state


def problems(project):
    found = {name: verification.first_problem(check, project) for name, check in verification.CHECKS.items()}
    return {name: problem for name, problem in found.items() if problem}


class Statements(CaptureQueriesContext):
    """The SQL that ran inside; transaction control and PostgreSQL's row locks (annotate/labeling/slots.py) left out."""

    def __init__(self):
        super().__init__(connection)

    @property
    def sql(self):
        said = (query["sql"] or "(of a kept plan)" for query in self.captured_queries)
        return [sql for sql in said if not sql.startswith(_CONTROL) and not sql.endswith(_LOCK)]

    def __len__(self):
        return len(self.sql)
