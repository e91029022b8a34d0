"""Decides in which time zone a page shows times: the one its reader chose, or else that of the reader's device."""

from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from annotate.models import User
from annotate.web.http.guards import ALWAYS

OF_THE_DEVICE = "UTC"  # stored for people who chose none: pages come in UTC, and site.js converts to the device's
UTC = "Etc/UTC"  # stored for people who chose UTC


class OwnTimeZone:
    """Middleware: activates the time zone that the signed-in person has chosen."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            response: HttpResponse = self.get_response(request)
            return response
        finally:
            timezone.deactivate()  # the next request in this thread may be another person's

    def process_view(self, request: HttpRequest, view_func: Any, view_args: Any, view_kwargs: Any) -> None:
        match = request.resolver_match
        if match is not None and match.url_name in ALWAYS:
            return  # for machines; nothing is read to answer them
        if zone := chosen(request):
            timezone.activate(ZoneInfo(zone))


def chosen(request: HttpRequest) -> str:
    """The time zone that the signed-in person has chosen; empty if the device decides."""
    person = getattr(request, "user", None)
    return person.time_zone if isinstance(person, User) and person.time_zone != OF_THE_DEVICE else ""
