"""Whether the process lives, and whether the site can do its work, as load balancers and monitoring ask."""

import pytest
from django.db import OperationalError, connection

from annotate.models import Heartbeat, migrated
from annotate.web.http import ready
from tests.factories import make_user
from tests.refusing import refusing_files, refusing_writes
from tests.services import free_port

pytestmark = pytest.mark.django_db
FINE = {"database": "ok", "migrations": "ok", "writes": "ok", "files": "ok", "disk": "ok", "broker": "unused"}


@pytest.fixture(autouse=True)
def nothing_is_known(settings, tmp_path):
    settings.VAR_DIR, settings.REDIS_URL, settings.READY_FREE_SHARE = tmp_path, "", 0.0
    ready.forget()
    yield
    ready.forget()


def no_database(*_):
    raise OperationalError("no such host db.internal")


class TestLiveness:
    def test_it_asks_nobody(self, client):
        with connection.execute_wrapper(no_database):
            answer = client.get("/healthz", headers={"Cookie": "sessionid=somebody"})
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_it_is_only_read(self, client, path):
        assert client.post(path).status_code == 405


class TestReadiness:
    def test_a_site_with_all_it_needs_is_ready(self, client, tmp_path):
        (tmp_path / "worker.alive").touch()
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": {**FINE, "worker": "ok"}})
        assert Heartbeat.objects.filter(name=Heartbeat.READY).exists()

    def test_without_a_worker_it_is_degraded(self, client):
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            200,
            {"status": "degraded", "checks": {**FINE, "worker": "none"}},
        )

    def test_without_its_broker_it_is_degraded(self, client, settings):
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["broker"]) == (200, "away")

    def test_with_its_broker_it_is_ready(self, client, settings, redis_server):
        settings.REDIS_URL = redis_server.url
        assert client.get("/readyz").json()["checks"]["broker"] == "ok"

    def test_it_tells_when_the_database_does_not_answer_and_not_why(self, client):
        with connection.execute_wrapper(no_database):
            answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "error")
        assert b"db.internal" not in answer.content
        assert answer.headers["Retry-After"]

    def test_a_database_that_takes_no_writes_is_not_ready(self, client):
        with refusing_writes():
            answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["writes"]) == (503, "read_only")

    def test_a_disk_that_takes_nothing_is_not_ready(self, client):
        with refusing_files():
            answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["files"]) == (503, "full")

    def test_too_little_room_is_not_ready(self, client, settings):
        settings.READY_FREE_SHARE = 1.0
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["disk"]) == (503, "full")

    def test_a_migration_that_lacks_is_told(self, client, monkeypatch):
        more = migrated._of_this_version() | {("annotate", "9999_to_come")}
        monkeypatch.setattr(migrated, "_of_this_version", lambda: more)
        monkeypatch.setitem(migrated._state, "lacked", False)
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["migrations"]) == (503, "missing")

    def test_it_writes_no_more_often_than_is_worth_it(self, client, django_assert_num_queries):
        client.get("/readyz")
        with django_assert_num_queries(0):
            assert client.get("/readyz").status_code == 200


class TestADatabaseOfAnotherVersion:
    @pytest.fixture
    def lacking(self, monkeypatch):
        """As a web process finds that starts before `migrate` has run."""
        more = migrated._of_this_version() | {("annotate", "9999_to_come")}
        monkeypatch.setattr(migrated, "_of_this_version", lambda: more)
        monkeypatch.setitem(migrated._state, "lacked", True)

    @pytest.mark.parametrize("path", ["/", "/sign-in", "/p/any/items/", "/api/v1/me"])
    def test_no_page_is_made_of_it(self, client, lacking, path):
        client.force_login(make_user("Ann"))
        answer = client.get(path)
        assert answer.status_code == 503
        assert "its database is not ready for this version" in answer.content.decode()

    def test_pages_come_back_once_it_is_migrated(self, client, monkeypatch):
        monkeypatch.setitem(migrated._state, "lacked", True)
        assert client.get("/sign-in").status_code == 200

    def test_the_process_lives(self, client, lacking):
        assert client.get("/healthz").status_code == 200
