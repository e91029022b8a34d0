"""What every endpoint shares: who may ask, what is read of the request, and how the answer is made.

An endpoint is a class with one method per HTTP method, and `operation` says of each what it needs, takes and returns:
the same words check the request here, describe it in the OpenAPI document, and are walked by tests/web/test_routes.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotAuthenticated, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from annotate import access
from annotate.api.http import errors, idempotency, paging, throttling
from annotate.api.http.authentication import BearerToken
from annotate.api.http.fields import Input, Output
from annotate.api.http.media import AsJson, Json
from annotate.models import ApiToken, Member, User

_Scope = ApiToken.Scope
SCOPES = (_Scope.READ, _Scope.ANNOTATE, _Scope.MANAGE)  # each holds those before it


@dataclass(frozen=True)
class Operation:
    """One method of one endpoint: what it needs, takes and returns."""

    summary: str
    scope: str
    needs: str | None = None  # what a member must be allowed to do (access.MAY); None outside projects
    query: type[Input] | None = None
    body: type[Input] | None = None
    returns: type[Serializer[Any]] | None = None
    status: int = 200
    is_paged: bool = False
    newest_first: bool = True
    makes: bool = False  # takes an idempotency key
    own_key: bool = False  # the same, where the domain itself keeps the key with what was made
    hidden: tuple[str, ...] = ()  # parts of the answer that are shown once
    throttle: str = "request"
    may_fail: bool = True  # goes on where requests cannot be counted; what costs money does not
    media: str = ""  # of an answer that is a file
    takes_file: bool = False  # the body is one, and is read as it comes


def operation(summary: str, *, scope: str, **words: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The method gets the request and the names in the address, with `self.query` and `self.body` checked.

    What it returns becomes the answer by the serializer `returns`; a queryset becomes one page of it.
    """
    if words.get("is_paged") and "query" not in words:
        words["query"] = paging.PageQuery
    asked = Operation(summary, scope, **words)

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def perform(self: Endpoint, request: Request, **names: Any) -> HttpResponseBase:
            names.pop("project", None)
            self.query = _checked(asked.query, request.query_params, where="query")
            self.body = {}
            if request.method not in ("GET", "HEAD") and not asked.takes_file:
                self.body = _checked(asked.body, request.data, where="body")

            def answer() -> Any:
                return self.answer(asked, method(self, request, **names))

            return idempotency.once(request, answer, hidden=asked.hidden) if asked.makes else answer()

        perform.operation = asked  # type: ignore[attr-defined]
        return perform

    return decorate


class Endpoint(APIView):
    """Denies by default: a token, its scope, then the role in the project of the address; only then the method."""

    authentication_classes = [BearerToken]
    permission_classes = []
    parser_classes = [Json]
    renderer_classes = [AsJson]
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]

    query: Mapping[str, Any]
    body: Mapping[str, Any]
    member: Member

    @property
    def me(self) -> User:
        user = self.request.user
        assert isinstance(user, User)  # nobody else comes this far
        return user

    def get_exception_handler(self) -> Any:
        return errors.handle

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        asked = self._asked(request)
        if asked is not None and asked.needs is not None:
            self.member = access.member_of(self.me, kwargs["project"], to=asked.needs)

    def check_permissions(self, request: Request) -> None:
        if not isinstance(request.user, User):
            raise NotAuthenticated(_("Send a token in the header Authorization, as: Bearer gl_..."))
        asked, token = self._asked(request), cast(ApiToken | None, request.auth)
        if asked is None or token is None:  # no such method here, or a session, which only reads descriptions
            return
        if SCOPES.index(_Scope(token.scope)) < SCOPES.index(_Scope(asked.scope)):
            sentence = _("This token is for %(has)s; this takes one for %(takes)s.")
            raise PermissionDenied(sentence % {"has": token.scope, "takes": asked.scope})

    def check_throttles(self, request: Request) -> None:
        asked = self._asked(request)
        throttling.check(request, asked.throttle if asked else "request", may_fail=asked is None or asked.may_fail)

    def answer(self, asked: Operation, found: Any) -> HttpResponseBase:
        if isinstance(found, HttpResponseBase):
            return found
        if asked.returns is None:
            return Response(status=asked.status)
        if asked.is_paged and isinstance(found, QuerySet):
            found = paging.page(self.request, found, dict(self.query), newest_first=asked.newest_first)
        returns = paging.page_of(asked.returns) if asked.is_paged else asked.returns
        context = {"request": self.request, "member": getattr(self, "member", None)}
        return Response(returns(found, context=context).data, status=asked.status)

    def _asked(self, request: Request) -> Operation | None:
        handler = getattr(self, (request.method or "").lower(), None)
        return getattr(handler, "operation", None)


def _checked(wanted: type[Input] | None, given: Any, *, where: str) -> Mapping[str, Any]:
    if wanted is None:
        wanted = Input
    if not isinstance(given, Mapping):
        raise ValidationError({"": [_("The %(where)s is no object with named fields.") % {"where": where}]})
    form = wanted(data=given)
    form.is_valid(raise_exception=True)
    found: Mapping[str, Any] = form.validated_data
    return found


__all__ = ["SCOPES", "Endpoint", "Input", "Operation", "Output", "operation"]
