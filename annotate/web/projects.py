"""The projects that somebody belongs to."""

from django.http import HttpRequest, HttpResponse


def list_projects(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError
