"""Where a project's loop stands and what to do next."""

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from annotate.web.doors import ProjectRequest, project_page


@require_GET
@project_page(to="view")
def show(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_GET
@project_page(to="view")
def guidelines(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError
