"""Whatever the description allows, and what it does not: no 5xx, no status, type or shape that it does not name.

Examples per operation and person: API_EXAMPLES (3; `make test-api` asks for 100).
"""

import copy
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

from annotate.api.http import description
from annotate.models import Project
from tests.api.conftest import Program
from tests.factories import make_project, owner_of
from tests.web.site import Place, make_place

_EXAMPLES = int(os.environ.get("API_EXAMPLES", "3"))
_CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def _load() -> Any:
    # Headers are ours: a token that is made up is another test.
    generation = GenerationConfig(modes=list(GenerationMode), with_security_parameters=False)
    project = ProjectConfig(generation=generation)
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_dict(description.document(), config=config)
    schema.app = get_wsgi_application()
    return schema


SCHEMA = _load()
OPERATIONS = {f"{one.ok().method.upper()} {one.ok().path}": one.ok() for one in SCHEMA.get_all_operations()}


@pytest.fixture
def kept_connection(db: None) -> Iterator[None]:
    """As Django's own test client does: the connection with the test's transaction outlives a request."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def places(rows_for_all: None) -> tuple[Place, Project]:
    return make_place(), make_project()


@pytest.mark.only_on("sqlite")
@pytest.mark.parametrize("name", OPERATIONS)
def test_it_answers_as_described(kept_connection: None, places: tuple[Place, Project], name: str) -> None:
    """To the owner, to a reviewer, and to somebody who has another project."""
    place, other = copy.deepcopy(places)
    people = {"owner": place.people["owner"], "reviewer": place.people["reviewer"], "stranger": owner_of(other)}
    for who, person in people.items():
        _ask(name, place, Program(person).headers, is_stranger=who == "stranger")


def _ask(name: str, place: Place, headers: dict[str, str], *, is_stranger: bool) -> None:
    operation = OPERATIONS[name]
    both = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=both, is_real=st.integers(0, 3).map(bool))
    def ask(case: Any, is_real: bool) -> None:
        if is_real:
            _name_what_exists(case, place)
        with transaction.atomic():
            response = case.call(headers=headers)
            transaction.set_rollback(True)
        case.validate_response(response, checks=_CHECKS)
        if is_stranger and is_real and "{project}" in case.path:
            assert response.status_code >= 400
            assert b"Plugh" not in response.content

    ask()


def _name_what_exists(case: Any, place: Place) -> None:
    """Names of things that are there, so that more is met than "not found"."""
    known = {**place.ids, "project": place.project.slug, "version": 1}
    for key in case.path_parameters or {}:
        if key in known:
            case.path_parameters[key] = known[key]
    if isinstance(case.body, dict):
        for key, value in (("lease", place.lease), ("leases", [place.lease])):
            if key in case.body and place.lease:
                ids = place.lease.public_id if key == "lease" else [place.lease.public_id]
                case.body[key] = ids if value else None


def test_it_is_described_without_a_warning(capsys: Any) -> None:
    description.document.cache_clear()
    description.document()
    said = capsys.readouterr()
    assert "arning" not in said.err + said.out, said.err


def test_every_operation_says_who_may_ask() -> None:
    for operations in description.document()["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["security"] == [{"token": []}]
            assert {"401", "406", "429"} <= operation["responses"].keys()
