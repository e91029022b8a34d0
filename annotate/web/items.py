"""Items that need a look: skipped, flagged, quarantined rows."""

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from annotate.web.doors import ProjectRequest, project_page


@require_GET
@project_page(to="evidence")
def skipped(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_GET
@project_page(to="evidence")
def flagged(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError


@require_GET
@project_page(to="evidence")
def quarantined(request: ProjectRequest) -> HttpResponse:
    raise NotImplementedError
