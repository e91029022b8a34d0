"""Two answers for load balancers: whether this process lives, and whether it can do its work. They name no causes."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.web.http import ready


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200: this process answers. Reads and writes nothing: restarting a process makes no room on a disk."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 `ready` or `degraded`, or 503 `not_ready`, with the state of each check (annotate/web/http/ready.py)."""
    found = ready.checks()
    status = ready.status(found)
    response = JsonResponse({"status": status, "checks": found}, status=503 if status == "not_ready" else 200)
    if status == "not_ready":
        response.headers["Retry-After"] = str(ready.KEPT_SECONDS)
    return response
