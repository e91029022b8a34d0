"""In which time zone somebody reads times: their own, or that of the device, which only the device knows."""

from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from annotate.models import User

OF_THE_DEVICE = "UTC"  # of who has chosen none: the server says UTC, and site.js what the device knows
UTC = "Etc/UTC"  # of who has chosen UTC


class OwnTimeZone:
    """Middleware: pages say times in the zone that their reader has chosen."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            response: HttpResponse = self.get_response(request)
            return response
        finally:
            timezone.deactivate()  # the thread answers others next

    def process_view(self, request: HttpRequest, view_func: Any, view_args: Any, view_kwargs: Any) -> None:
        if zone := chosen(request):
            timezone.activate(ZoneInfo(zone))


def chosen(request: HttpRequest) -> str:
    """The zone that the reader has chosen; empty where the device decides."""
    person = getattr(request, "user", None)
    return person.time_zone if isinstance(person, User) and person.time_zone != OF_THE_DEVICE else ""
