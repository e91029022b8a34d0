"""A disk that is really full under a site that is really served: reads go on, writes are refused in a sentence, nothing
that was acknowledged is lost, and no process dies."""

import errno
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings as project_settings
from django.db import connection

from benchmarks.site import Site
from tests import databases, services
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.django_db, pytest.mark.timeout(600)]
MEGABYTE = 1 << 20
PAGES = ("/", "/p/{slug}/", "/p/{slug}/items/", "/p/{slug}/exports", "/p/{slug}/runs", "/p/{slug}/label/", "/profile")


ENQUEUE = """
import sys, django
django.setup()
from annotate import tasks
from annotate.models import Project
project = Project.objects.get(slug=sys.argv[1])
by = project.members.get(role="owner").user
print(tasks.enqueue(kind="export", project=project, by=by).public_id)
"""


class SmallDisk:
    """A disk in memory that can be filled to its last byte, and given room again."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self.path, self._ballast = path, path / "ballast"
        path.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
        if os.geteuid() or subprocess.run(words, capture_output=True).returncode:
            pytest.skip("A small disk can only be mounted by root.")

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as file:
            for size in (MEGABYTE, 4096, 1):
                self._write_until_full(file, b"x" * size)

    def make_room(self) -> None:
        self._ballast.unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=False)
        self.path.rmdir()

    @staticmethod
    def _write_until_full(file: Any, block: bytes) -> None:
        try:
            while file.write(block):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC


@dataclass
class Reply:
    status: int
    headers: Any
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


@dataclass
class Visitor:
    """Whoever asks the site: programs of Olga and Ann, and Olga's browser."""

    site: Site
    known: dict[str, str]
    keys: dict[str, str] = field(default_factory=dict)  # key of each acknowledged answer: its lease
    bodies: dict[str, Any] = field(default_factory=dict)  # what was sent with a key is sent with it again

    def ask(self, method: str, path: str, body: Any = None, *, by: str = "", **headers: str) -> Reply:
        one = http.client.HTTPConnection(urlsplit(self.site.url).netloc, timeout=60)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        way = {"Authorization": f"Bearer {self.known[by]}"} if by else {"Cookie": f"sessionid={self.known['cookie']}"}
        one.request(method, path, data, {"Content-Type": "application/json", **way, **headers})
        answer = one.getresponse()
        try:
            return Reply(answer.status, answer.headers, answer.read().decode())
        finally:
            one.close()

    def api(self, method: str, path: str, body: Any = None, *, by: str = "ann", **headers: str) -> Reply:
        return self.ask(method, f"/api/v1/projects/{self.known['slug']}/{path}", body, by=by, **headers)

    def ready(self) -> Reply:
        return self.ask("GET", "/readyz")

    def submit(self, lease: str, key: str) -> Reply:
        body = {"lease": lease, "label": 0, "comment": secrets.token_hex(2_000)}
        reply = self.api("POST", "label/submit", self.bodies.setdefault(key, body), **{"Idempotency-Key": key})
        if reply.status in (200, 201):
            self.keys[key] = lease
        return reply

    def answer_one(self) -> str:
        """The key of an answer that was stored."""
        lease, key = self.api("POST", "label/next", {"n": 1}).body["questions"][0]["lease"], secrets.token_hex(8)
        reply = self.submit(lease, key)
        assert reply.status in (200, 201), reply.text
        return key

    def answer_until_it_is_refused(self) -> tuple[str, str, Reply]:
        """(lease, key, the refusal): some answers may still fit where there was room inside files."""
        while True:
            offered = self.api("POST", "label/next", {"n": 1})
            if offered.status == 503:
                return "", "", offered
            lease, key = offered.body["questions"][0]["lease"], secrets.token_hex(8)
            reply = self.submit(lease, key)
            if reply.status not in (200, 201):
                return lease, key, reply


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(path, megabytes)
    try:
        yield disk
    finally:
        disk.unmount()


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """Not in pytest's own folder, which it closes to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="goldloop-disk-") as folder, small_disk(Path(folder) / "small", 40) as one:
        Path(folder).chmod(0o755)
        yield one


@contextmanager
def database_on(disk: SmallDisk) -> Iterator[str]:
    """The address of a new, migrated database of which every row lies on this disk."""
    if connection.vendor == "sqlite":
        path = disk.path / "goldloop.sqlite3"
        databases.copy_to(path)
        yield f"sqlite:///{path}"
        return
    url, name = os.environ["DATABASE_URL"], f"tiny_{secrets.token_hex(4)}"
    folder = disk.path / "rows"
    folder.mkdir()
    disk.path.chmod(0o755)
    if user := services._somebody():
        shutil.chown(folder, user.pw_uid, user.pw_gid)
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        server.execute(f'CREATE DATABASE {name} TEMPLATE "{os.environ["POSTGRES_TEMPLATE"]}" TABLESPACE {name}')
    made = urlsplit(url)._replace(path=f"/{name}").geturl()
    try:
        yield made
    finally:
        services.drop_database(made)
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(f"DROP TABLESPACE {name}")


@contextmanager
def served(folder: Path, database: str) -> Iterator[Visitor]:
    site = Site(folder, DATABASE_URL=database, READY_FREE_SHARE="0", WEB_PROCESSES="2", WORKER_POLL_SECONDS="0.2")
    known = json.loads(site.python("-m", "tests.chaos.prepare", folder))
    with site.served():
        yield Visitor(site, known)
    said = site.said()
    assert "was sent SIG" not in said, said  # gunicorn's words for a process that was killed
    assert "Traceback" not in said, said


def test_a_full_disk_under_the_database(disk):
    with database_on(disk) as database:
        with served(disk.path, database) as people:
            wait_until(lambda: people.ready().status == 200)
            before = people.answer_one()
            disk.fill()
            lease, key, refused = people.answer_until_it_is_refused()
            assert (refused.status, refused.body["type"]) == (503, "urn:goldloop:problem:full"), refused.text
            assert "the disk of this site is full" in refused.body["detail"]
            assert refused.headers["Retry-After"]
            assert people.ask("GET", "/healthz").status == 200
            wait_until(lambda: people.ready().status == 503)
            for page in PAGES:
                assert people.ask("GET", page.format(slug=people.known["slug"])).status == 200, page
            for path in ("items", "progress", "runs", "label/history"):
                assert people.api("GET", path, by="owner").status == 200, path
            disk.make_room()
            wait_until(lambda: people.ready().status == 200)
            if key:  # the same answer with the same key
                assert people.submit(lease, key).status in (200, 201)
            assert people.answer_one()
            assert before in people.keys
            for known_key, known_lease in people.keys.items():  # each is stored once: a replay says so
                assert people.submit(known_lease, known_key).status in (200, 201), known_key
            n_answers = people.api("GET", "progress", by="owner").body["n_answers"]
            assert n_answers == len(people.keys)
        people.site.manage("verify", people.known["slug"])


def test_a_full_disk_under_the_files(disk, database_url):
    with served(disk.path, database_url) as people:
        wait_until(lambda: people.ready().status == 200)
        disk.fill()
        wait_until(lambda: people.ready().body["checks"]["files"] == "full")
        assert people.answer_one()  # rows have room
        upload = people.api("POST", "uploads?file_name=a.csv", b"text\n" + b"one more\n" * 100_000, by="owner")
        assert (upload.status, upload.body["type"]) == (503, "urn:goldloop:problem:full"), upload.text
        assert not list(disk.path.rglob("uploads/*/*"))
        run = people.site.python("-c", ENQUEUE, people.known["slug"]).strip()

        def state() -> Any:
            return people.api("GET", f"runs/{run}", by="owner").body

        wait_until(lambda: state()["state"] == "paused", seconds=180)
        assert "the disk of this site is full" in state()["message"]
        disk.make_room()
        assert people.api("POST", f"runs/{run}/resume", {}, by="owner").status == 200
        wait_until(lambda: state()["state"] == "succeeded", seconds=180)
    people.site.manage("verify", people.known["slug"])


def test_a_database_without_our_tables_says_so_on_every_page(tmp_path):
    if connection.vendor == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        ask_unmigrated(tmp_path, url)
        return
    url = services.create_database(os.environ["DATABASE_URL"])
    try:
        ask_unmigrated(tmp_path, url)
    finally:
        services.drop_database(url)


def ask_unmigrated(folder: Path, url: str) -> None:
    environment = {**os.environ, "VAR_DIR": str(folder), "DATABASE_URL": url, "ALLOWED_HOSTS": "127.0.0.1"}
    script = (
        "from wsgiref.util import setup_testing_defaults\n"
        "from labelapp.wsgi import application\n"
        "for path in ('/', '/sign-in', '/api/v1/me', '/readyz', '/healthz'):\n"
        "    asked = {'PATH_INFO': path, 'HTTP_AUTHORIZATION': 'Bearer gl_x'}\n"
        "    setup_testing_defaults(asked)\n"
        "    said = []\n"
        "    text = b''.join(application(asked, lambda status, headers: said.append(status[:3]))).decode()\n"
        "    print(path, said[0], 'migrate' in text, 'Traceback' in text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project_settings.BASE_DIR, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "/ 503 True False",
        "/sign-in 503 True False",
        "/api/v1/me 503 True False",
        "/readyz 503 False False",
        "/healthz 200 False False",
    ], done.stderr
