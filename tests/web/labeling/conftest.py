"""A project with a round of five questions, and Ann who labels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from annotate.models import Lease, Project, User
from tests.annotate.asking import Statements
from tests.factories import make_member, make_project
from tests.web.labeling.rows import make_round


@pytest.fixture
def project(db: None) -> Project:
    project = make_project()
    make_round(project)
    return project


@pytest.fixture
def ann(project: Project) -> User:
    return make_member(project, "Ann")


class Asking:
    """A signed-in client for one project: by default as the page's script, or as a plain form."""

    def __init__(self, user: User | None, project: Project) -> None:
        self.client, self.project, self.user = Client(), project, user
        if user:
            self.client.force_login(user)

    def url(self, page: str) -> str:
        return reverse(f"labeling-{page}", args=[self.project.slug])

    def get(self, page: str, **query: Any) -> Any:
        return self.client.get(self.url(page), query)

    def post(self, page: str, **fields: Any) -> Any:
        return self.client.post(self.url(page), fields, headers={"Accept": "application/json"})

    def form(self, page: str, **fields: Any) -> Any:
        return self.client.post(self.url(page), fields)

    def hold(self) -> str:
        """The lease of the question that the script would show."""
        return self.post("next").json()["items"][0]["lease"]

    def answered(self, label: int = 0, key: str = "k-answered") -> str:
        lease = self.hold()
        assert self.post("submit", lease=lease, label=label, key=key).status_code == 200
        return lease


@pytest.fixture
def asking(project: Project) -> Callable[..., Asking]:
    def asking(user: User | None, other: Project | None = None) -> Asking:
        return Asking(user, other or project)

    return asking


@pytest.fixture
def ann_asks(ann: User, asking: Callable[..., Asking]) -> Asking:
    return asking(ann)


def active(user: User) -> Any:
    return Lease.objects.filter(annotator=user, ended_at__isnull=True)


@pytest.fixture
def at_most() -> Callable[[int], Any]:
    """No more queries than that, session and user included; transaction control and locks are not counted."""

    @contextmanager
    def at_most(n: int) -> Iterator[None]:
        with Statements() as asked:
            yield
        assert len(asked) <= n, "\n\n".join(asked.sql)

    return at_most
