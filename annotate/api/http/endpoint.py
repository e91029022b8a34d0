"""What every endpoint of the API shares: the classes that guard it, and how an answer is made.

An endpoint is a class with one method per HTTP method, each declared by `operation` (operations.py).
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.api.http import errors
from annotate.api.http.authentication import BearerToken
from annotate.api.http.media import AsJson, Json
from annotate.api.http.operations import Operation
from annotate.api.http.paging import KeyPagination
from annotate.api.http.permissions import HasRole, HasScope, IsKnown, IsSiteOwner
from annotate.api.http.throttling import TokenThrottle, TooOften
from annotate.models import Member, User


class Endpoint(APIView):
    """Denies by default, in this order: no token, too small a scope, too many requests, no role in the project."""

    authentication_classes = [BearerToken]
    permission_classes = [IsKnown, HasScope, IsSiteOwner, HasRole]
    throttle_classes = [TokenThrottle]
    pagination_class = KeyPagination
    parser_classes = [Json]
    renderer_classes = [AsJson]
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]

    query: Mapping[str, Any]
    body: Mapping[str, Any]
    member: Member  # of the project in the address; set by HasRole

    @property
    def me(self) -> User:
        user = self.request.user
        assert isinstance(user, User)  # IsKnown lets nobody else pass
        return user

    def get_exception_handler(self) -> Any:
        return errors.handle

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if "project" in kwargs:
            self.check_object_permissions(request, kwargs["project"])

    def throttled(self, request: Request, wait: float | None) -> Any:
        raise TooOften(wait or 0)

    def answer(self, operation: Operation, result: Any) -> HttpResponseBase:
        """`result` is what the method returned."""
        if isinstance(result, HttpResponseBase):
            return result
        if operation.returns is None:
            return Response(status=operation.status)
        context = {"request": self.request, "member": getattr(self, "member", None)}
        if operation.is_paged:
            return self._page(operation, result, context)
        return Response(operation.returns(result, context=context).data, status=operation.status)

    def _page(self, operation: Operation, rows: QuerySet[Any], context: dict[str, Any]) -> Response:
        assert operation.returns is not None
        paginator = self.pagination_class()
        page = paginator.paginate_queryset(rows, self.request, self)
        return paginator.get_paginated_response(operation.returns(page, many=True, context=context).data)
