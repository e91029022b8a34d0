"""A project with a round of sixty questions, and Ann's page with the first of them."""

import pytest

from tests.e2e.labeling.screen import open_screen
from tests.factories import make_member, make_project
from tests.web.labeling.rows import make_round


@pytest.fixture
def project(transactional_db):
    project = make_project()
    make_round(project, [f"item {n}" for n in range(60)])
    return project


@pytest.fixture
def ann(project):
    return make_member(project, "Ann")


@pytest.fixture
def label(page_for, ann, project):
    """Ann's page with the first item painted."""
    page = page_for(ann)
    open_screen(page, project)
    return page
