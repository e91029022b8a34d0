"""The projects that somebody belongs to."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET

from annotate import people
from annotate.access import MAY
from annotate.models import User
from annotate.models.draw import Round
from annotate.people import Standing
from annotate.web.doors import home_of
from annotate.web.forms import role_name


@require_GET
def list_projects(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)  # the door is shut for everybody else
    return render(
        request,
        "annotate/projects/list.html",
        {"projects": [_shown(standing) for standing in people.standings(request.user)]},
    )


def _shown(standing: Standing) -> dict[str, object]:
    member = standing.member
    home, label_page = home_of(member), reverse("labeling-work", args=[member.project.slug])
    return {
        "project": member.project,
        "role": role_name(member.role),
        "is_trusted": member.is_trusted,
        "home": home,
        "begins_with_questions": home == label_page,
        "label_page": label_page if member.role in MAY["annotate"] and home != label_page else "",
        "n_mine": standing.n_mine,
        "n_done": standing.n_done,
        "n_questions": standing.n_questions,
        "line": _line(standing),
    }


def _line(standing: Standing) -> str:
    """Where it stands, for the one who reads it."""
    if standing.round is None:
        return _("No round yet: nothing is asked.")
    index = standing.round.index
    if standing.round.state == Round.State.CLOSED:
        return _("Round %(round)d is closed: nothing is asked now.") % {"round": index}
    if standing.member.role not in MAY["annotate"]:
        return _("Round %(round)d is open.") % {"round": index}
    if not standing.n_mine:
        return _("Round %(round)d: nothing waits for you.") % {"round": index}
    waiting = ngettext(
        "Round %(round)d: %(n)d question waits for you.",
        "Round %(round)d: %(n)d questions wait for you.",
        standing.n_mine,
    )
    return waiting % {"round": index, "n": standing.n_mine}
