"""Writes the OpenAPI document from the `operation` declaration of every method, so that nothing is described twice."""

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from annotate import problems
from annotate.api.http import idempotency, paging
from annotate.api.http.fields import Input, Problem
from annotate.api.http.operations import Operation

_MEANINGS = {
    400: "The request cannot be read.",
    401: "No token, or one that is not valid.",
    403: "The token's scope, or the role in this project, does not allow this.",
    404: "There is no such thing, or none that you may know of.",
    406: "The answer is JSON (or the file asked for), which the header Accept does not take.",
    409: "The state of the project does not allow this now.",
    411: "The length of the body is not said.",
    413: "More than is taken at once.",
    415: "The body is of a type that is not taken.",
    422: "Something that was sent cannot be used; `errors` says what.",
    429: "Too much at once; the header Retry-After says how many seconds to wait.",
    503: "Requests cannot be counted now, so nothing is begun that costs money.",
}
# Version 1 was published with component names of these words, and clients generated from it carry them in their code.
_PUBLISHED = {
    "ConnectionChangeInput": "ConnectionChange",
    "DisputeDetailOutput": "DisputeDetail",
    "ExportDetailOutput": "ExportDetail",
    "InvitationLinkOutput": "InvitationMade",
    "ItemHistoryOutput": "HistoryOfItem",
    "OwnProgressOutput": "ProgressOfMine",
    "PasswordLinkOutput": "PasswordLinkMade",
    "ProjectDetailOutput": "ProjectDetail",
    "SettingsChangeInput": "SettingsChange",
}
_component: Any = ResolvedComponent
_generator: Any = SchemaGenerator
_KEY = OpenApiParameter(
    idempotency.HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description=(
        "Any text of your own, new for each thing you want done. The same request with the same key is done once "
        "within 24 hours; its answer comes again with the header Idempotency-Replayed: true."
    ),
    pattern=r"^[\x20-\x7e]{1,100}$",
)


class Description(AutoSchema):
    """Takes every part of an operation's description from its declaration instead of guessing from views and models."""

    method: str

    @property
    def _asked(self) -> Operation:
        found: Operation = getattr(self.view, self.method.lower()).operation
        return found

    def get_operation_id(self) -> str:
        return f"{type(self.view).__name__}_{self.method.lower()}"

    def get_summary(self) -> str:
        return self._asked.summary

    def get_description(self) -> str:  # type: ignore[override]
        asked, text = self._asked, getattr(self.view, self.method.lower()).__doc__ or ""
        needs = f"Scope: {asked.scope}."
        if asked.needs:
            needs += f" The role in the project must allow: {asked.needs}."
        return "\n\n".join(part for part in (" ".join(text.split()), needs) if part)

    def get_tags(self) -> list[str]:
        return [type(self.view).__module__.rpartition(".")[2]]

    def get_auth(self) -> list[dict[str, list[str]]]:  # type: ignore[override]
        scheme = {"type": "http", "scheme": "bearer", "description": "A token of yours: Authorization: Bearer gl_..."}
        found: Any = _component("token", ResolvedComponent.SECURITY_SCHEMA, schema=scheme, object="token")
        self.registry.register_on_missing(found)
        return [{"token": []}]

    def get_override_parameters(self) -> list[Any]:
        asked = self._asked
        return [*([asked.query] if asked.query else []), *([_KEY] if asked.makes or asked.own_key else [])]

    def get_request_serializer(self) -> Any:
        if self._asked.takes_file:
            return {"application/octet-stream": OpenApiTypes.BINARY}
        return self._asked.body

    def get_response_serializers(self) -> Any:
        asked = self._asked
        media = asked.media or "application/json"
        answer: Any = OpenApiTypes.BINARY if asked.media else asked.returns
        if asked.is_paged and asked.returns:
            answer = paging.page_of(asked.returns)
        found: dict[Any, Any] = {(asked.status, media): answer} if answer else {asked.status: None}
        for status in _possible(asked, self.method, self.path):
            said = OpenApiResponse(Problem, description=_MEANINGS[status])
            found[status, problems.CONTENT_TYPE] = said
        return found

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        name = type(serializer).__name__
        return _PUBLISHED.get(name) or name.replace("Output", "Shown").replace("Input", "Given")

    def _postprocess_serializer_schema(self, schema: Any, serializer: Any, direction: Any) -> Any:
        parent: Any = super()
        schema = parent._postprocess_serializer_schema(schema, serializer, direction)
        if isinstance(serializer, Input):
            schema["additionalProperties"] = False
        return schema


@cache
def document() -> dict[str, Any]:
    """The whole description; the same for everybody, made once per process."""
    found: dict[str, Any] = _generator(urlconf="annotate.api.urls", api_version="1").get_schema(public=True)
    return found


def _possible(asked: Operation, method: str, path: str) -> list[int]:
    """Every status that this operation may answer with besides its own."""
    found = {400, 401, 403, 406, 413, 422, 429}
    if "{" in path:
        found.add(404)
    if method not in ("GET", "HEAD"):
        found |= {404, 409, 411, 415}
    if asked.needs is not None:  # what is asked for may not be there in this state of the project
        found |= {404, 409}
    if not asked.may_fail:
        found.add(503)
    return sorted(found)
