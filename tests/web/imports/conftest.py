"""An empty project, and its owner signed in."""

import pytest

from tests.factories import make_project, owner_of


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def olga(project, signed_in):
    return signed_in(owner_of(project))
