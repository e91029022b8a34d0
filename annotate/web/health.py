"""Is the site alive: for load balancers and `serve`."""

from django.http import HttpRequest, HttpResponse


def healthz(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError
