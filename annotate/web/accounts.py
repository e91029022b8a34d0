"""Signing in and out, one's own password, accepting an invitation."""

from django.http import HttpRequest, HttpResponse


def sign_in(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError


def sign_out(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError


def change_password(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError


def accept_invitation(request: HttpRequest, token: str) -> HttpResponse:
    raise NotImplementedError
