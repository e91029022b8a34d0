"""The API's description: as an OpenAPI document for programs, and as a page for people who are signed in."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from rest_framework import serializers
from rest_framework.request import Request

from annotate.api import description
from annotate.api.authentication import BearerToken, Session
from annotate.api.endpoint import Endpoint, operation
from annotate.api.fields import Shown


class DocumentShown(Shown):
    openapi = serializers.CharField()
    info = serializers.DictField()
    paths = serializers.DictField()
    components = serializers.DictField()


class Document(Endpoint):
    authentication_classes = [BearerToken, Session]

    @operation("This description, as OpenAPI 3", scope="read", returns=DocumentShown)
    def get(self, request: Request) -> Any:
        return description.document()


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    return render(request, "annotate/api/reference.html", {})
