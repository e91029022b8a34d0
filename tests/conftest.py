"""Fixtures named as facts; rows come from tests/factories.py."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from django.conf import settings as project_settings
from django.core import mail as outbox
from django.db import connection, transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests import databases, mails, services

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


_SLOW = {"chaos", "e2e", "commands", "benchmarks"}  # start processes, browsers, servers
# Pages and API make the statements of the domain: on PostgreSQL all are walked, and the busiest tested whole.
_PORTABLE = ("web/", "api/")
_NOT_PORTABLE = (
    "web/labeling/",
    "web/test_overview.py",
    "web/test_translation.py",
    "api/test_routes.py",
    "api/test_labeling.py",
)
_WITHOUT_DATABASE = {"models_ml", "formats", "modalities"}  # like the code they test


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--only-database", action="store_true", help="leave out what touches no database")
    parser.addoption("--slow", action="store_true", help="what is marked slow, too")
    parser.addoption("--portable", action="store_true", help="on PostgreSQL what is marked portable, too")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One more than there are processors: whoever waits for a server, a worker or a browser needs none."""
    count = os.cpu_count()
    return count + 1 if count and "PYTEST_XDIST_AUTO_NUM_WORKERS" not in os.environ else None


def pytest_configure(config: pytest.Config) -> None:
    """The processes of pytest-xdist find here what the first of them has migrated."""
    if databases.SQLITE_TEMPLATE in os.environ:  # one of these processes
        return
    folder = tempfile.mkdtemp(prefix="goldloop-database-")
    os.environ[databases.SQLITE_TEMPLATE] = folder
    config.add_cleanup(lambda: os.environ.pop(databases.SQLITE_TEMPLATE))
    config.add_cleanup(lambda: shutil.rmtree(folder))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --only-database, what touches none is not even imported: torch and the browser are a third of collecting."""
    if not config.getoption("--only-database"):
        return None
    without = {*_WITHOUT_DATABASE, "e2e"}  # the browser need not do all of it twice
    return True if without & set(collection_path.relative_to(Path(__file__).parent).parts) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _leave_out(config, items, [item for item in items if not _is_for_this_database(item)])
    if not config.getoption("--slow"):
        _leave_out(config, items, [item for item in items if item.get_closest_marker("slow")])
    if connection.vendor == "postgresql" and not config.getoption("--portable"):
        _leave_out(config, items, [item for item in items if _is_portable(item)])
    if config.getoption("--only-database"):
        _leave_out(config, items, [item for item in items if not _touches_the_database(item)])

    items.sort(key=lambda item: not _SLOW & set(item.path.parts))  # stable: the others stay in their order


def _leave_out(config: pytest.Config, items: list[pytest.Item], others: list[pytest.Item]) -> None:
    if others:
        config.hook.pytest_deselected(items=others)
        gone = set(others)
        items[:] = [item for item in items if item not in gone]


def _is_portable(item: pytest.Item) -> bool:
    if item.get_closest_marker("portable"):
        return True
    place = item.path.relative_to(Path(__file__).parent).as_posix()
    return place.startswith(_PORTABLE) and not place.startswith(_NOT_PORTABLE)


def _is_for_this_database(item: pytest.Item) -> bool:
    """Slow tests that say so run on one database: the embedded worker's on SQLite, Celery's on PostgreSQL."""
    mark = item.get_closest_marker("only_on")
    return mark is None or mark.args[0] == connection.vendor


def _touches_the_database(item: pytest.Item) -> bool:
    asked = {"db", "transactional_db", "database_url"} & set(getattr(item, "fixturenames", ()))
    return bool(asked) or item.get_closest_marker("django_db") is not None


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> Iterator[None]:
    """The database of this process is a copy of the migrated one."""
    test = connection.settings_dict["TEST"]
    if template := os.environ.get("POSTGRES_TEMPLATE"):
        test["TEMPLATE"] = template
    if connection.vendor == "postgresql":
        yield
        return
    databases.copy_to(Path(test["NAME"]))
    yield
    connection.close()
    for end in ("", "-wal", "-shm", "-turn"):
        Path(test["NAME"] + end).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """Without this, Django would throw the copy away and migrate again."""
    return django_db_keepdb or connection.vendor == "sqlite"


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a new, migrated database for commands that run in processes of their own, of the kind the tests run on."""
    if "sqlite" in project_settings.DATABASES["default"]["ENGINE"]:
        path = tmp_path_factory.mktemp("database") / "own.sqlite3"
        databases.copy_to(path)
        yield f"sqlite:///{path}"
        return
    template = os.environ.get("POSTGRES_TEMPLATE", "template1")
    url = services.create_database(os.environ["DATABASE_URL"], template=template)
    yield url
    services.drop_database(url)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[services.Service]:
    """A Redis for all tests of this process; whoever kills it starts it again."""
    with services.running(services.Redis) as server:
        yield server


@pytest.fixture(autouse=True)
def files_in_a_temporary_folder(request: pytest.FixtureRequest, settings, tmp_path: Path) -> None:
    if "rows_for_all" not in request.fixturenames:
        settings.FILES_DIR = tmp_path / "files"


@pytest.fixture
def keys_in_a_temporary_folder(settings, tmp_path: Path) -> None:
    """The site's secrets, which are made when they are first needed."""
    settings.VAR_DIR = tmp_path


@pytest.fixture(scope="module")
def rows_for_all(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Rows and files of fixtures that ask for this are there for all tests of their module.

    What a test with `db` does itself is undone after it. Not for tests with threads or with `transactional_db`.
    """
    folder = tmp_path_factory.mktemp("files")
    with django_db_blocker.unblock(), override_settings(FILES_DIR=folder), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def has_mail(settings, django_capture_on_commit_callbacks):
    """A site that sends mail; what is done within `with has_mail() as box` is committed, and its mails are in `box`."""
    mails.set_up(settings)

    @contextmanager
    def has_mail():
        with django_capture_on_commit_callbacks(execute=True):
            yield outbox.outbox

    return has_mail


@pytest.fixture(scope="module")
def events_can_be_flushed():
    """A test without a transaction around it empties the tables; the event log's triggers step aside for that."""
    names = ("0002_append_only_events", "0030_seals_so_far")
    migrations = [import_module(f"annotate.migrations.{name}") for name in names]
    operations = type(connection.ops)
    flush = operations.execute_sql_flush

    def flush_all(self, statements):
        with connection.cursor() as cursor:
            for migration in migrations:
                for statement in migration.UNDO[connection.vendor]:
                    cursor.execute(statement)
            flush(self, statements)
            for migration in migrations:
                for statement in (migration.SQLITE if connection.vendor == "sqlite" else migration.POSTGRESQL).values():
                    cursor.execute(statement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "execute_sql_flush", flush_all)
        yield


@pytest.fixture
def unwritable(db):
    """Tables that the database refuses to write to, as on a full disk: call it with a model."""
    made: list[str] = []

    def refuse(model) -> None:
        table, name = model._meta.db_table, f"refuse_{model._meta.db_table}"
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute(
                    f"CREATE TRIGGER {name} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END"
                )
            else:
                cursor.execute(
                    f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                    "$$ BEGIN RAISE EXCEPTION 'disk full'; END $$"
                )
                cursor.execute(
                    f"CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
                )
        made.append(name)

    return refuse
