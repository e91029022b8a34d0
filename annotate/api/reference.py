"""The API's description: as an OpenAPI document for programs, and as a page for people who are signed in.

The page is made here from the document, because no viewer of OpenAPI runs under a policy without inline styles.
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from rest_framework import serializers
from rest_framework.request import Request

from annotate.api.http import description
from annotate.api.http.authentication import BearerToken, Session
from annotate.api.http.endpoint import Endpoint
from annotate.api.http.fields import Output
from annotate.api.http.operations import operation

_DEEPEST = 4  # objects within objects of an example


class DocumentOutput(Output):
    openapi = serializers.CharField()
    info = serializers.DictField()
    paths = serializers.DictField()
    components = serializers.DictField()


class Document(Endpoint):
    authentication_classes = [BearerToken, Session]

    @operation("This description, as OpenAPI 3", scope="read", returns=DocumentOutput)
    def get(self, request: Request) -> Any:
        return description.document()


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a body or an answer."""

    name: str
    kind: str
    text: str
    is_required: bool


@dataclass(frozen=True)
class Entry:
    """One operation as the page shows it."""

    id: str
    method: str
    path: str
    summary: str
    text: list[str]
    parameters: list[Field]
    body: list[Field]
    answer: list[Field]
    statuses: list[tuple[str, str]]
    curl: str


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    groups = _groups()
    return render(
        request,
        "annotate/api/reference.html",
        {"groups": list(groups.items()), "site": request.build_absolute_uri("/")},
    )


@cache
def _groups() -> dict[str, list[Entry]]:
    """Operations by the thing they are about."""
    found: dict[str, list[Entry]] = {}
    for path, methods in description.document()["paths"].items():
        for method, spec in methods.items():
            found.setdefault(spec["tags"][0], []).append(_entry(path, method.upper(), spec))
    return dict(sorted(found.items()))


def _entry(path: str, method: str, spec: dict[str, Any]) -> Entry:
    body = _schema(next(iter(spec.get("requestBody", {}).get("content", {}).values()), {}))
    done = next(status for status in spec["responses"] if status.startswith("2"))
    answer = _schema(next(iter(spec["responses"][done].get("content", {}).values()), {}))
    return Entry(
        id=spec["operationId"],
        method=method,
        path=path,
        summary=spec["summary"],
        text=spec["description"].split("\n\n"),
        parameters=[_parameter(one) for one in spec.get("parameters", ())],
        body=_fields(body),
        answer=_fields(answer),
        statuses=[(status, said.get("description", "")) for status, said in spec["responses"].items()],
        curl=_curl(path, method, body),
    )


def _parameter(one: dict[str, Any]) -> Field:
    text = one.get("description", "")
    return Field(one["name"], f"{one['in']}, {_kind(one['schema'])}", text, one.get("required", False))


def _fields(schema: dict[str, Any]) -> list[Field]:
    required = schema.get("required", ())
    return [
        Field(name, _kind(one), one.get("description", ""), name in required)
        for name, one in schema.get("properties", {}).items()
    ]


def _kind(schema: dict[str, Any]) -> str:
    """A type in words."""
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if name := _reference(schema):
        return name
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    kind = str(schema.get("type", "any"))
    return f"{kind} or null" if schema.get("nullable") else kind


def _curl(path: str, method: str, body: dict[str, Any]) -> str:
    """A command that asks this; names in braces are to be filled in."""
    parts = [f'curl -X {method} "$SITE{path}"', '-H "Authorization: Bearer $TOKEN"']
    if body.get("format") == "binary":
        parts[0] = f'curl -X {method} "$SITE{path}?file_name=items.csv"'
        parts += ['-H "Content-Type: application/octet-stream"', "--data-binary @items.csv"]
    elif body:
        parts += ['-H "Content-Type: application/json"', f"-d '{json.dumps(_example(body))}'"]
    return " \\\n  ".join(parts)


def _example(schema: dict[str, Any], depth: int = 0) -> Any:
    schema = _resolved(schema)
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        names = schema.get("required") or list(schema.get("properties", {}))[:1]
        known = schema.get("properties", {})
        return {name: _example(known[name], depth + 1) for name in names if depth < _DEEPEST}
    if schema.get("type") == "array":
        n = max(1, schema.get("minItems", 1))
        return [_example(schema["items"], depth + 1) for _ in range(n)] if depth < _DEEPEST else []
    return {"integer": schema.get("minimum", 0), "number": 0.5, "boolean": False}.get(schema.get("type", ""), "…")


def _schema(media: dict[str, Any]) -> dict[str, Any]:
    return _resolved(media.get("schema", {}))


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = _reference(schema)
    found: dict[str, Any] = description.document()["components"]["schemas"][name] if name else schema
    return found


def _reference(schema: dict[str, Any]) -> str:
    inner = schema.get("$ref") or next((one.get("$ref", "") for one in schema.get("allOf", ())), "")
    return str(inner).rpartition("/")[2]
