"""The services that tests start: what they keep, what they lose; and what a site does when its broker is away."""

import os
import subprocess
import sys
from functools import partial

import psycopg
import pytest
import redis

from tests.processes import ROOT
from tests.services import PostgreSQL, Redis, create_database, drop_database, running

RING = """
import time
import django; django.setup()
from kombu.exceptions import OperationalError
from labelapp.celery import app
def clock():  # in seconds, without those in which this thread could have gone on and others had the processor
    return time.monotonic() - int(open("/proc/thread-self/schedstat").read().split()[1]) / 1e9
for _ in range(3):
    began = clock()
    try:
        app.send_task("nothing", args=["id"], queue="ml")
        heard = True
    except OperationalError:
        heard = False
    print(heard, clock() - began < 1.5)
"""


def ring(url, tmp_path):
    environment = {"REDIS_URL": url, "VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "labelapp.settings"}
    done = subprocess.run(
        [sys.executable, "-c", RING], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split("\n")[:-1]


class TestPostgreSQL:
    def test_what_it_acknowledged_is_there_after_a_kill(self):
        with running(partial(PostgreSQL, durable=True)) as server:
            url = create_database(server.url)
            with psycopg.connect(url) as connection:
                connection.execute("CREATE TABLE kept (n integer)")
                connection.execute("INSERT INTO kept VALUES (7)")
            server.kill()
            assert not server.answers()
            server.start()
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]
            drop_database(url)
            with pytest.raises(psycopg.OperationalError, match="does not exist"):
                psycopg.connect(url)

    def test_nothing_of_it_stays(self):
        with running(PostgreSQL) as server:
            folder, pid = server.folder, server.process.pid
        assert not folder.exists()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


class TestRedis:
    def test_it_forgets_when_it_is_killed_and_holds_on_when_frozen(self):
        with running(Redis) as server, redis.Redis.from_url(server.url) as client:
            client.set("a", 1)
            with server.frozen():
                assert not server.answers()
            assert client.get("a") == b"1"
            server.kill()
            assert not server.answers()
            server.start()
            assert client.get("a") is None


class TestRinging:
    def test_a_message_is_json_in_its_queue(self, redis_server, tmp_path):
        assert ring(redis_server.url, tmp_path) == ["True True"] * 3
        with redis.Redis.from_url(redis_server.url) as client:
            [message, *_] = client.lrange("ml", 0, -1)
            client.delete("ml")
        assert b'"content-type": "application/json"' in message

    def test_a_broker_that_is_gone_costs_next_to_nothing(self, tmp_path):
        with running(Redis) as server:
            server.kill()
            assert ring(server.url, tmp_path) == ["False True"] * 3

    def test_a_broker_that_hangs_costs_a_second(self, tmp_path):
        with running(Redis) as server, server.frozen():
            assert ring(server.url, tmp_path) == ["False True"] * 3


@pytest.mark.parametrize(
    "module",
    [
        "labelapp.wsgi",
        "labelapp.urls",
        "annotate.tasks",
        "annotate.runs.lifecycle",
        "annotate.management.commands.serve",
    ],
)
def test_nobody_loads_celery_without_a_broker(module, tmp_path):
    program = (
        f"import sys, django; django.setup(); import {module};"
        "assert not {'celery', 'kombu', 'redis'} & sys.modules.keys()"
    )
    environment = {"VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "labelapp.settings"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, timeout=60)
