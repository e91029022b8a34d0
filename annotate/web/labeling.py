"""The annotating screen and what its script asks for."""

from django.http import HttpResponse
from django.views.decorators.http import require_GET, require_POST

from annotate.web.doors import ProjectRequest, project_page


@require_GET
@project_page(to="annotate")
def work(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="annotate")
def next_items(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="annotate")
def submit(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="annotate")
def change(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="annotate")
def renew(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="annotate")
def release(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="annotate")
def draft(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="annotate")
def reveal(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_POST
@project_page(to="annotate")
def why(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_GET
@project_page(to="annotate")
def history(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError
