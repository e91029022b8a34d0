"""Exported datasets: make one, download its files."""

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from annotate.web.doors import ProjectRequest, project_page


@require_GET
@project_page(to="download")
def list_exports(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_GET
@project_page(to="download")
def download(request: ProjectRequest, run: str, name: str) -> HttpResponse:
    raise NotImplementedError
