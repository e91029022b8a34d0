"""Who belongs to a project: invite, trust, remove."""

from django.http import HttpResponse
from django.views.decorators.http import require_GET, require_POST

from annotate.web.doors import ProjectRequest, project_page


@require_GET
@project_page(to="manage")
def list_people(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="manage")
def invite(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="manage")
def set_member(request: ProjectRequest, person: str) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="manage")
def remove(request: ProjectRequest, person: str) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="manage")
def revoke(request: ProjectRequest, invitation: str) -> HttpResponse:
    raise NotImplementedError
