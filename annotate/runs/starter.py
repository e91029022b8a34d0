"""Decides for whom a run is performed: whoever started it, while they manage the project; then whoever resumes it."""

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from annotate import access
from annotate.errors import RunPaused
from annotate.models import Project, Run, User


def unfinished(user: User, project: Project | None = None) -> QuerySet[Run]:
    """The runs that this user started and that are queued or at work now, in this project, or in all."""
    alive = Q(state=Run.State.QUEUED) | Q(state=Run.State.RUNNING, requested_action=Run.Action.NONE)
    runs = Run.objects.filter(alive, started_by=user).select_related("project").order_by("pk")
    return runs if project is None else runs.filter(project=project)


def require(run: Run, by: User) -> None:
    """RunPaused, with what to do now, where `by`, who started the run, does not manage its project any more."""
    person = User.objects.get(pk=by.pk)  # as the account is now
    if not _manages(person, run.project):
        raise RunPaused(gone_sentence(person, is_deactivated=not person.is_active))


def take_over(run: Run, by: User) -> None:
    """Make `by` the one for whom the run is performed, if whoever started it does not manage the project any more."""
    if run.started_by_id is not None and not _manages(User.objects.get(pk=run.started_by_id), run.project):
        Run.objects.filter(pk=run.pk).update(started_by=by)


def gone_sentence(person: User, *, is_deactivated: bool) -> str:
    """Why a run of this person is paused, and how it goes on."""
    if is_deactivated:
        return _("Paused: the account of who started it was deactivated. It goes on for whoever resumes it.")
    return _(
        "Paused: %(person)s, who started it, no longer manages this project. It goes on for whoever resumes it."
    ) % {"person": person}


def _manages(person: User, project: Project) -> bool:
    member = access.membership(person, project)
    return member is not None and member.role in access.MAY["manage"]
