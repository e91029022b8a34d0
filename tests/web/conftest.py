"""Pages in tests: passwords hash fast, and somebody signed in is one word."""

from collections.abc import Callable

import pytest
from django.test import Client

from annotate.models import User
from tests.annotate.conftest import asked

__all__ = ["asked"]  # a fixture of the domain modules' tests


@pytest.fixture(autouse=True)
def passwords_hash_fast(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def signed_in() -> Callable[[User], Client]:
    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in
