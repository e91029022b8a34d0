"""Is the site alive: for load balancers and `serve`. Says no names, versions or causes."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.models import Project
from annotate.runs import worker_alive


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """503 when the database does not answer. A missing worker is told, but pages work without one."""
    try:
        Project.objects.exists()  # a table of ours: an empty database is no answer
    except DatabaseError:
        return JsonResponse({"status": "error", "database": "error", "worker": worker_alive.worker_state()}, status=503)
    return JsonResponse({"status": "ok", "database": "ok", "worker": worker_alive.worker_state()})
