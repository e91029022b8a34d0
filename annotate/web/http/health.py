"""Decides whether the site counts as healthy, for load balancers and `serve`. Tells no names, versions or causes."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.models import Project
from annotate.runs import worker_alive


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200, or 503 if the database does not answer. A missing worker is reported, but pages work without one."""
    try:
        Project.objects.exists()  # a table of ours: a database without our tables counts as not answering
    except DatabaseError:
        return JsonResponse({"status": "error", "database": "error", "worker": worker_alive.worker_state()}, status=503)
    return JsonResponse({"status": "ok", "database": "ok", "worker": worker_alive.worker_state()})
