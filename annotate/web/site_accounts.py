"""Pages of the site's accounts, for its owners: vouch, deactivate, open again, hand over what an account owns."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotate import deactivation, members
from annotate.accounts import addresses, mail, passwords
from annotate.errors import Conflict, InvalidInput, NotFound
from annotate.models import Member, Project, User
from annotate.web import account_words
from annotate.web.forms import role_name
from annotate.web.http.guards import site_page
from annotate.web.http.htmx import go_to

_PAGE = 50
_HEIR = "heir-{}"  # name of the field that chooses who owns the project of this short name


@require_GET
@never_cache
@site_page
def list_accounts(request: HttpRequest) -> HttpResponse:
    wanted = request.GET.get("q", "").strip()
    found = deactivation.accounts(_by(request)).annotate(n_projects=Count("memberships"))
    if wanted:
        found = found.filter(Q(email__icontains=wanted) | Q(name__icontains=wanted))
    page = Paginator(found.order_by("email"), _PAGE).get_page(request.GET.get("page"))
    unsent = list(passwords.unsent(_by(request))) if mail.is_set() else []
    context = {"page": page, "wanted": wanted, "unsent": unsent, "query": _query(wanted)}
    return render(request, "annotate/site_accounts/list.html", context)


@require_GET
@never_cache
@site_page
def show(request: HttpRequest, account: str) -> HttpResponse:
    return _page(request, deactivation.find(public_id=account, by=_by(request)))


@require_POST
@site_page
def vouch(request: HttpRequest, account: str) -> HttpResponse:
    """Vouch for the account, or take that back (`vouches` = no)."""
    by = _by(request)
    found = deactivation.find(public_id=account, by=by)
    if request.POST.get("vouches") == "no":
        addresses.take_back_vouch(user=found, by=by)
        messages.success(request, _("Nobody vouches for %(person)s any more.") % {"person": found})
    else:
        addresses.vouch(user=found, by=by)
        messages.success(request, _("You vouch for %(person)s.") % {"person": found})
    return go_to(request, reverse("accounts-show", args=[account]))


@require_POST
@site_page
def deactivate(request: HttpRequest, account: str) -> HttpResponse:
    by = _by(request)
    found = deactivation.find(public_id=account, by=by)
    owned = deactivation.owned_by(found)
    heirs = {project.slug: request.POST.get(_HEIR.format(project.slug), "") for project in owned}
    try:
        done = deactivation.deactivate(user=found, by=by, heirs=heirs)
    except (Conflict, InvalidInput) as error:
        return _page(request, found, error=error)
    messages.success(request, account_words.after(done))
    return go_to(request, reverse("accounts-show", args=[account]))


@require_POST
@site_page
def reactivate(request: HttpRequest, account: str) -> HttpResponse:
    by = _by(request)
    opened = deactivation.reactivate(user=deactivation.find(public_id=account, by=by), by=by)
    sentence = _("%(person)s can sign in again. Tokens and links that ended stay ended; paused runs stay paused.")
    messages.success(request, sentence % {"person": opened})
    return go_to(request, reverse("accounts-show", args=[account]))


@require_POST
@site_page
def hand_over(request: HttpRequest, account: str, slug: str) -> HttpResponse:
    """Hand over a project whose owner is deactivated."""
    by = _by(request)
    found = deactivation.find(public_id=account, by=by)
    project = next((project for project in deactivation.owned_by(found) if project.slug == slug), None)
    if project is None:
        raise NotFound(_("This account owns no such project."))
    done = deactivation.hand_over_of_gone(project=project, heir=request.POST.get(_HEIR.format(slug), ""), by=by)
    messages.success(request, _("%(person)s owns %(project)s now.") % {"person": done.new, "project": project})
    return go_to(request, reverse("accounts-show", args=[account]))


@require_POST
@site_page
def send_mail(request: HttpRequest, mail: str) -> HttpResponse:
    """Mail a link for a new password again that its person asked for and that was not sent."""
    person = passwords.send_again(public_id=mail, by=_by(request))
    messages.success(request, _("A new link is on its way to %(email)s.") % {"email": person.email})
    return go_to(request, reverse("accounts-list"))


def _page(request: HttpRequest, found: User, error: Exception | None = None) -> HttpResponse:
    by, owned = _by(request), deactivation.owned_by(found)
    context: dict[str, Any] = {
        "account": found,
        "memberships": [(one.project, role_name(one.role)) for one in _memberships(found)],
        "owned": [(project, _HEIR.format(project.slug), _heirs(project, found, by)) for project in owned],
        "obstacle": deactivation.obstacle(found, by),
        "changes": account_words.before(deactivation.impact(found)) if found.is_active else [],
        "problem": error,
        "is_me": found.pk == by.pk,
    }
    status = 200 if error is None else 422 if isinstance(error, InvalidInput) else 409
    return render(request, "annotate/site_accounts/show.html", context, status=status)


def _memberships(account: User) -> QuerySet[Member]:
    return account.memberships.select_related("project").order_by("project__name", "pk")


def _heirs(project: Project, owner: User, by: User) -> list[User]:
    """Who could own the project: its members who sign in, and the one who asks."""
    found = [member.user for member in members.heirs(project)]
    return found if any(user.pk == by.pk for user in (*found, owner)) else [*found, by]


def _query(wanted: str) -> str:
    return f"{urlencode({'q': wanted})}&" if wanted else ""


def _by(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # guaranteed by SignedInOnly
    return request.user
