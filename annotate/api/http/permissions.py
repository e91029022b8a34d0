"""Who may do what: permission classes that read the `operation` of the method that a request asks for.

A request for a method that an endpoint does not have passes here with any token, and is answered 405.
"""

from typing import Any, cast

from django.utils.translation import gettext as _
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from annotate import access
from annotate.api.http.operations import operation_of
from annotate.models import ApiToken, User

_Scope = ApiToken.Scope
SCOPES = (_Scope.READ, _Scope.ANNOTATE, _Scope.MANAGE)  # each holds those before it


class IsKnown(BasePermission):
    """Only people who are known by a token or (for the OpenAPI document) by a session; all others get a 401."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.user, User):
            raise NotAuthenticated(_("Send a token in the header Authorization, as: Bearer gl_..."))
        return True


class HasScope(BasePermission):
    """The token's scope holds the scope of the operation. A session has no scope: it reads the description only."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        operation, token = operation_of(view, request), cast(ApiToken | None, request.auth)
        if operation is None or token is None:
            return True
        names = {"has": token.scope, "takes": operation.scope}
        self.message = _("This token is for %(has)s; this takes one for %(takes)s.") % names
        return SCOPES.index(_Scope(token.scope)) >= SCOPES.index(_Scope(operation.scope))


class IsSiteOwner(BasePermission):
    """Operations on the site's own things are for owners of the site; the domain functions check it again."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        operation = operation_of(view, request)
        if operation is not None and operation.for_site_owners:
            access.require_site_owner(cast(User, request.user))
        return True


class HasRole(BasePermission):
    """The person's role in the project of the address allows what the operation needs (annotate/access.py decides).

    The project is the object of the request, by its slug: the check comes after the throttle, so that whoever guesses
    the names of projects is counted. To others than its members a project does not exist: NotFound.
    """

    def has_object_permission(self, request: Request, view: Any, obj: str) -> bool:
        operation = operation_of(view, request)
        if operation is not None and operation.needs is not None:
            view.member = access.member_of(cast(User, request.user), obj, to=operation.needs)
        return True
