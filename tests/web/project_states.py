"""A project in each state that it can be in, with one person for each role; rows only, so that each takes no time."""

from collections.abc import Callable

from annotate import items, label_changes, projects
from annotate.accounts import invitations
from annotate.imports import uploads
from annotate.labeling import answers, leases
from annotate.models import Project, User
from annotate.models.base import database_now
from annotate.models.project import Role
from annotate.money import budgets, ledger
from annotate.money.ledger import Ask
from tests.factories import answer_round, make_connection, make_member, make_project, make_user, owner_of
from tests.rows import make_estimate, make_export, make_items, make_model, make_round, make_run, make_silver
from tests.rows import make_version as freeze


def empty(project: Project) -> None:
    """Just made."""


def file_sent(project: Project) -> None:
    rows = [b"text,id\n", b"one,1\n", b"two,2\n"]
    uploads.receive(project=project, by=owner_of(project), file_name="rows.csv", chunks=rows)


def importing(project: Project) -> None:
    make_run(project, kind="import", state="queued", started_by=owner_of(project))


def imported(project: Project) -> None:
    make_items(project, 6)


def withdrawn_import(project: Project) -> None:
    imported(project)
    ids = list(project.items.values_list("public_id", flat=True))
    items.withdraw(project=project, by=owner_of(project), public_ids=ids)


def run_failed(project: Project) -> None:
    imported(project)
    make_run(project, kind="prelabel", state="failed", message="The server said no.", started_by=owner_of(project))


def run_crashed(project: Project) -> None:
    prelabeled(project)
    make_run(project, kind="train", state="errored", message="ValueError", trace="Traceback", started_by=None)


def cap_reached(project: Project) -> None:
    imported(project)
    owner = owner_of(project)
    budgets.set_cap(project=project, kind="machine", cap_micros=100, by=owner)
    refusal = budgets.refusal(budgets.of(project, "machine"), 200)
    run = make_run(project, kind="prelabel", state="paused", message=refusal, started_by=owner)
    ledger.reserve(budgets.of(project, "machine"), [Ask(40, None), Ask(40, None)], run=run)


def prelabeled(project: Project) -> None:
    make_silver(project, make_items(project, 6))


def round_open(project: Project) -> None:
    prelabeled(project)
    make_round(project, list(project.items.order_by("pk"))[:4])


def half_answered(project: Project) -> None:
    round_open(project)
    answer_round(project, by=_annotator(project), leave=2)


def only_skips_left(project: Project) -> None:
    """Somebody who skips all; others may still answer."""
    round_open(project)
    _skip_all(project, _annotator(project))


def skipped_by_all(project: Project) -> None:
    round_open(project)
    for member in project.members.exclude(role=Role.VIEWER):
        _skip_all(project, member.user)


def round_answered(project: Project) -> None:
    round_open(project)
    answer_round(project, by=_annotator(project))


def people_stopped(project: Project) -> None:
    """Answers are paid, and nothing may be spent on people."""
    Project.objects.filter(pk=project.pk).update(human_price_micros=50_000)
    round_open(project)
    budgets.stop(project=project, kind="human", by=owner_of(project))


def disputed(project: Project) -> None:
    """Two questions whose overlap is full, and no gold."""
    prelabeled(project)
    make_round(project, list(project.items.order_by("pk"))[:2], answered=2, is_closed=True)


def closed(project: Project) -> None:
    round_answered(project)
    project.rounds.update(state="closed", closed_at=database_now())


def trained(project: Project) -> None:
    closed(project)
    make_model(project)


def estimated(project: Project) -> None:
    trained(project)
    version = freeze(project, project.model_versions.get(), project.prompts.get())
    make_estimate(version)
    make_estimate(version, "llm", value=0.8)


def exported(project: Project) -> None:
    estimated(project)
    make_export(project.delivered_versions.get(), run=make_run(project, kind="export"))


def labels_changed(project: Project) -> None:
    exported(project)
    owner, schema = owner_of(project), projects.current_schema(project)
    names = [label.name for label in projects.labels_of(schema)]
    new = [label_changes.NextLabel(projects.NewLabel(name), was=(name,)) for name in names]
    new.append(label_changes.NextLabel(projects.NewLabel("another")))
    label_changes.change(project=project, new=new, by=owner, base=schema.version)


# by name; each makes what lies before it in the loop, too
STATES: dict[str, Callable[[Project], None]] = {
    made.__name__: made
    for made in (
        empty, file_sent, importing, imported, withdrawn_import, run_failed, run_crashed, cap_reached, prelabeled,
        round_open, half_answered, only_skips_left, skipped_by_all, round_answered, people_stopped, disputed, closed,
        trained, estimated, exported, labels_changed,
    )
}  # fmt: skip


def make_state(name: str) -> tuple[Project, dict[str, User]]:
    """The project in this state, and its people by role. Its owner owns the site, too."""
    owner = make_user("Olga", is_site_owner=True)
    project = make_project(by=owner, name=f"State {name}")
    people = {Role.OWNER.value: owner}
    for role in (Role.ADMIN, Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER):
        people[role.value] = make_member(project, role.label, role)
    projects.set_guidelines(project=project, markdown="Say what it is.", by=owner)
    invitations.invite(project=project, role=Role.VIEWER, by=owner)
    make_connection(owner)
    STATES[name](project)
    project.refresh_from_db()
    return project, people


def _annotator(project: Project) -> User:
    return User.objects.get(memberships__project=project, memberships__role=Role.ANNOTATOR)


def _skip_all(project: Project, person: User) -> None:
    while leased := leases.lease_next(project=project, annotator=person):
        for place, lease in enumerate(leased):
            answers.submit(
                lease_id=lease.public_id,
                project=project,
                answer=answers.Answer(skip_reason="unclear", seconds=1.0),
                key=f"skip-{person.pk}-{lease.pk}-{place}",
                by=person,
            )
