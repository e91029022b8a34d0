"""Long work: start it, watch it."""

from django.http import HttpResponse
from django.views.decorators.http import require_GET, require_POST

from annotate.web.doors import ProjectRequest, project_page


@require_GET
@project_page(to="evidence")
def list_runs(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="manage")
def start(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_GET
@project_page(to="evidence")
def show(request: ProjectRequest, run: str) -> HttpResponse:
    raise NotImplementedError
