"""`operation`: what one HTTP method of one endpoint needs, takes and returns, declared once.

The permission classes and the throttle read the declaration before the method runs, the decorator checks query and body
by it, the OpenAPI description is written from it, and tests/api/test_routes.py calls every route by it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from annotate.api.http import idempotency
from annotate.api.http.fields import Input, PageQuery

_Method = Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """One HTTP method of one endpoint: what it needs, takes and returns."""

    summary: str
    scope: str  # the least scope that a token must have
    needs: str | None = None  # what a member must be allowed to do (access.MAY); None outside projects
    for_site_owners: bool = False  # only owners of the site may do it
    query: type[Input] | None = None
    body: type[Input] | None = None
    returns: type[Serializer[Any]] | None = None
    status: int = 200
    is_paged: bool = False
    newest_first: bool = True  # the order of a paged answer
    makes: bool = False  # takes an idempotency key
    own_key: bool = False  # the same, where the domain itself keeps the key with what was made
    hidden: tuple[str, ...] = ()  # parts of the answer that are shown once
    throttle: str = "request"  # which rate of settings.API_THROTTLES counts
    may_fail: bool = True  # goes on where requests cannot be counted; what costs money does not
    media: str = ""  # the media type of an answer that is a file
    takes_file: bool = False  # the body is a file, and is read as it comes


def operation(summary: str, *, scope: str, **declared: Any) -> Callable[[_Method], _Method]:
    """Declare a method of an endpoint; `declared` are further fields of Operation.

    The method gets the request and the names in the address, with `self.query` and `self.body` checked. What the method
    returns becomes the answer through the serializer `returns`; a queryset becomes one page of it.
    """
    if declared.get("is_paged") and "query" not in declared:
        declared["query"] = PageQuery
    declaration = Operation(summary, scope, **declared)

    def decorate(method: _Method) -> _Method:
        @wraps(method)
        def perform(endpoint: Any, request: Request, **names: Any) -> HttpResponseBase:
            names.pop("project", None)
            endpoint.query = _validated(declaration.query, request.query_params, where="query")
            endpoint.body = _body(declaration, request)

            def answer() -> Any:
                return endpoint.answer(declaration, method(endpoint, request, **names))

            return idempotency.once(request, answer, hidden=declaration.hidden) if declaration.makes else answer()

        perform.operation = declaration  # type: ignore[attr-defined]
        return perform

    return decorate


site_operation = partial(operation, for_site_owners=True)  # of what belongs to the site, not to a project


def operation_of(view: APIView, request: Request) -> Operation | None:
    """What was declared of the request's method; None where the endpoint has no such method."""
    handler = getattr(view, (request.method or "").lower(), None)
    return getattr(handler, "operation", None)


def _body(declaration: Operation, request: Request) -> Mapping[str, Any]:
    if request.method in ("GET", "HEAD") or declaration.takes_file:
        return {}
    return _validated(declaration.body, request.data, where="body")


def _validated(wanted: type[Input] | None, data: Any, *, where: str) -> Mapping[str, Any]:
    """The values of a query or a body, by the serializer `wanted`; without one, nothing may be sent."""
    if not isinstance(data, Mapping):
        raise ValidationError({"": [_("The %(where)s is no object with named fields.") % {"where": where}]})
    form = (wanted or Input)(data=data)
    form.is_valid(raise_exception=True)
    values: Mapping[str, Any] = form.validated_data
    return values
