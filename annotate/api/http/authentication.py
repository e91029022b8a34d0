"""Authentication classes: a bearer token, and for reading the OpenAPI document also the session of a browser."""

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from annotate.accounts import tokens
from annotate.models import ApiToken, User

_REALM = 'Bearer realm="Goldloop"'


class BearerToken(BaseAuthentication):
    """The header `Authorization: Bearer gl_...`. Cookies do not count, so no other site can make a browser act here."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _space, secret = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = tokens.verify(secret.strip())
        if token is None:
            raise AuthenticationFailed(_("This token is not valid: it is unknown, revoked or has expired."))
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return _REALM


class Session(BaseAuthentication):
    """The person who is signed in in a browser. Only for endpoints with nothing but GET: no CSRF token is checked."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        user: Any = getattr(request._request, "user", None)
        return (user, None) if isinstance(user, User) and user.is_active else None

    def authenticate_header(self, request: Request) -> str:
        return _REALM
