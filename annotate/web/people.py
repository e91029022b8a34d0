"""The page *People*: invite, set role and trust, see agreement, end leases, make password links, remove, hand over."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db.models import Count, Window
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotate import access, members
from annotate.access import MAY
from annotate.accounts import invitations, mail, passwords
from annotate.accounts.invitations import GIVABLE
from annotate.accounts.sign_in import TooManyAttempts
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.members import Left
from annotate.models import Invitation, Member
from annotate.models.base import database_now
from annotate.models.project import Role
from annotate.reports import agreement
from annotate.reports.agreement import Agreement
from annotate.web import account_words
from annotate.web.forms import ROLES, HeirForm, InviteForm, MemberForm, role_name
from annotate.web.http.guards import ProjectRequest, home_of, project_page
from annotate.web.http.htmx import go_to

_PAGE = 50  # members, and invitations


@require_GET
@never_cache
@project_page(to="manage")
def list_people(request: ProjectRequest) -> HttpResponse:
    return _page(request, InviteForm())


@require_POST
@never_cache
@project_page(to="manage")
def invite(request: ProjectRequest) -> HttpResponse:
    """Invite somebody. The response itself shows the link; showing it after a redirect would mean storing it."""
    form = InviteForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    try:
        made, token = invitations.invite(project=request.member.project, by=request.member.user, **form.cleaned_data)
    except (InvalidInput, Conflict, TooManyAttempts) as error:
        form.add_error("email", str(error))
        return _page(request, form, status=429 if isinstance(error, TooManyAttempts) else 422)
    if token is None:
        messages.success(request, _mailed(made))
        return go_to(request, _back(request))
    return _page(request, InviteForm(), status=201, invitation_link=_invitation_link(request, token))


@require_POST
@project_page(to="manage")
def set_member(request: ProjectRequest, person: str) -> HttpResponse:
    form = MemberForm(request.POST)
    if not form.is_valid():
        raise InvalidInput(_("Choose one of the roles in the list."))
    by = request.member
    member = members.set_member(project=by.project, person=person, by=by.user, **form.cleaned_data)
    names = {"person": member.user, "role": role_name(member.role)}
    sentence = _("%(person)s: %(role)s, trusted.") if member.is_trusted else _("%(person)s: %(role)s, not trusted.")
    messages.success(request, sentence % names)
    return go_to(request, _back(request))


@require_POST
@project_page(to="manage")
def release(request: ProjectRequest, person: str) -> HttpResponse:
    user, n = members.release(project=request.member.project, person=person, by=request.member.user)
    sentence = ngettext("%(person)s: %(n)d held item went back.", "%(person)s: %(n)d held items went back.", n)
    messages.success(request, sentence % {"person": user, "n": n})
    return go_to(request, _back(request))


@require_POST
@never_cache
@project_page(to="manage")
def make_password_link(request: ProjectRequest, person: str) -> HttpResponse:
    """Make a password link, shown in the response itself, like an invitation's."""
    by = request.member
    made, token = passwords.make_link_in(project=by.project, person=person, by=by.user)
    link = _site(request) + reverse("password-reset", args=[token])
    return _page(request, InviteForm(), status=201, password_link=link, password_of=made.user)


@require_POST
@project_page(to="manage")
def remove(request: ProjectRequest, person: str) -> HttpResponse:
    left = members.remove(project=request.member.project, person=person, by=request.member.user)
    messages.success(request, _farewell(left))
    return go_to(request, _back(request))


@require_POST
@project_page(to="manage")
def revoke(request: ProjectRequest, invitation: str) -> HttpResponse:
    invitations.revoke(project=request.member.project, public_id=invitation, by=request.member.user)
    messages.success(request, _("The invitation is revoked; its link works no longer."))
    return go_to(request, _back(request))


@require_POST
@project_page(to="manage")
def send_invitation(request: ProjectRequest, invitation: str) -> HttpResponse:
    by = request.member
    sent = invitations.send_again(project=by.project, public_id=invitation, by=by.user)
    messages.success(request, _mailed(sent))
    return go_to(request, _back(request))


@require_POST
@never_cache
@project_page(to="manage")
def show_invitation(request: ProjectRequest, invitation: str) -> HttpResponse:
    """Another link for an open invitation, to pass on by hand, shown in the response itself."""
    by = request.member
    _made, token = invitations.show_link(project=by.project, public_id=invitation, by=by.user)
    return _page(request, InviteForm(), status=201, invitation_link=_invitation_link(request, token))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@project_page(to="own")
def hand_over(request: ProjectRequest, person: str) -> HttpResponse:
    """Make another member the owner. GET says what changes; POST does it."""
    by = request.member
    new = members.heirs(by.project).filter(user__public_id=person).first()
    if new is None:
        raise NotFound(_("There is nobody in this project who could own it under this name."))
    form, status = HeirForm(request.POST if request.method == "POST" else None), 200
    if request.method == "POST":
        if form.is_valid():
            done = members.hand_over(project=by.project, person=person, by=by.user, **form.cleaned_data)
            messages.success(request, _("%(person)s owns this project now.") % {"person": done.new})
            return go_to(request, _back(request))
        status = 422
    mine = next(one for one in members.in_project(by.project) if one.member.pk == by.pk)
    context = {"new": new, "role": role_name(new.role), "form": form, "mine": mine}
    return render(request, "annotate/people/hand_over.html", context, status=status)


def _page(request: ProjectRequest, form: InviteForm, status: int = 200, **made: Any) -> HttpResponse:
    project = request.member.project
    now = database_now()
    invited = _invitations(request, now)
    people = members.in_project(project, now)
    context: dict[str, Any] = {
        "people": Paginator(people, _PAGE).get_page(request.GET.get("page")),
        "invitations": invited,
        "roles": [(role.value, ROLES[role]) for role in GIVABLE],
        "owner_role": Role.OWNER.value,
        "has_mail": mail.is_set(),
        "unproven": account_words.unproven(person.member for person in people),
        "form": form,
        **made,
    }
    context["rows"] = _rows(request.member, list(context["people"]))
    context["invitation_rows"] = [
        {"invitation": invitation, "role": role_name(invitation.role)} for invitation in invited
    ]
    return render(request, "annotate/people/list.html", context, status=status)


def _invitations(request: ProjectRequest, now: datetime) -> Page[Any]:
    """A page of the open invitations, newest first, in one query however many there are."""
    asked = request.GET.get("invitations", "")
    number = int(asked) if asked.isascii() and asked.isdigit() and 0 < len(asked) < 7 else 1
    found = invitations.open_in(request.member.project, now).order_by("-pk").annotate(n_all=Window(Count("*")))
    rows = list(found[max(0, number - 1) * _PAGE : max(1, number) * _PAGE])
    if not rows and number > 1:
        number, rows = 1, list(found[:_PAGE])
    pages = Paginator(range(rows[0].n_all if rows else 0), _PAGE)
    return Page(rows, max(1, number), pages)


def _rows(member: Member, people: list[members.Person]) -> list[dict[str, Any]]:
    agreements = agreement.with_gold(member.project)
    helped = set(passwords.may_be_helped(member.user).filter(memberships__project=member.project).values_list("pk"))
    return [
        {
            "person": person,
            "role": role_name(person.member.role),
            "agreement": agreements.get(person.member.user_id, Agreement()),
            "may_own": member.role in MAY["own"] and members.may_own(person.member),
            "may_be_helped": (person.member.user_id,) in helped,
        }
        for person in people
    ]


def _back(request: ProjectRequest) -> str:
    """The address to go to: the list, or for somebody who has just removed or demoted themselves another page."""
    member = access.membership(request.member.user, request.member.project)
    if member is None:
        return reverse("projects-list")
    return reverse("people-list", args=[member.project.slug]) if member.role in MAY["manage"] else home_of(member)


def _invitation_link(request: ProjectRequest, token: str) -> str:
    return _site(request) + reverse("invitation-accept", args=[token])


def _mailed(invitation: Invitation) -> str:
    return _("The invitation is on its way to %(email)s.") % {"email": invitation.email}


def _site(request: ProjectRequest) -> str:
    """The site's address for links: SITE_URL, or this request's address where SITE_URL names only this machine."""
    if urlsplit(settings.SITE_URL).hostname in ("localhost", "127.0.0.1"):
        return f"{request.scheme}://{request.get_host()}"
    return str(settings.SITE_URL)


def _farewell(left: Left) -> str:
    answers = ngettext("%(n)d answer stays", "%(n)d answers stay", left.n_answers) % {"n": left.n_answers}
    held = ngettext("%(n)d held item went back", "%(n)d held items went back", left.n_released) % {"n": left.n_released}
    names = {"person": left.person, "answers": answers, "held": held}
    return " ".join([_("%(person)s was removed: %(answers)s, %(held)s.") % names, *_of_runs(left.n_paused)])


def _of_runs(n: int) -> list[str]:
    """What the runs that a removed member had started need now."""
    sentence = ngettext(
        "%(n)d run that they started is paused, and goes on for whoever resumes it.",
        "%(n)d runs that they started are paused, and go on for whoever resumes them.",
        n,
    )
    return [sentence % {"n": n}] if n else []
