"""Programs in tests: a client with a token of some person and scope, that speaks JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from annotate.accounts import tokens
from annotate.models import Project, User
from tests.factories import make_member, make_project, owner_of
from tests.web.labeling.rows import make_round


@pytest.fixture(autouse=True)
def nobody_asks_too_often(settings, tmp_path: Path) -> None:
    """Tests of the limits set their own."""
    settings.API_THROTTLES = {"request": (0, 0), "submit": (0, 0)}
    settings.API_RATES_FILE = tmp_path / "rates"


class Program:
    """A client that signs in with a token; `project` is where its short addresses begin."""

    def __init__(self, user: User | None, scope: str = "manage", project: Project | None = None) -> None:
        self.user, self.project, self.client = user, project, Client()
        self.token, secret = tokens.create(by=user, name="test", scope=scope) if user else (None, "")
        self.headers = {"Authorization": f"Bearer {secret}"} if user else {}

    def url(self, path: str) -> str:
        if path.startswith("/"):
            return path
        return f"/api/v1/projects/{self.project.slug}/{path}".rstrip("/") if self.project else f"/api/v1/{path}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = headers.pop("content_type", "application/json")
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.generic(method, self.url(path), data, content_type=kind, headers=sent)

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.ask("POST", path, {} if body is None else body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.ask("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.ask("DELETE", path, **headers)


@pytest.fixture
def project(db: None) -> Project:
    project = make_project()
    make_round(project)
    return project


@pytest.fixture
def asking(project: Project) -> Callable[..., Program]:
    def asking(user: User | None, scope: str = "manage", other: Project | None = None) -> Program:
        return Program(user, scope, other or project)

    return asking


@pytest.fixture
def olga(project: Project, asking: Callable[..., Program]) -> Program:
    return asking(owner_of(project))


@pytest.fixture
def ann(project: Project, asking: Callable[..., Program]) -> Program:
    return asking(make_member(project, "Ann"), "annotate")
