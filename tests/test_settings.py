"""Settings: none needed, wrong ones named, production ones clean. Each in a process of its own."""

import ast
import os
import stat
import subprocess
import sys

from tests.processes import ROOT, run_manage


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return run_manage(*arguments, environment={**kept, **variables})


def test_it_runs_with_no_variable_but_where_to_keep_things(tmp_path):
    done = manage("check", VAR_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_the_secret_key_is_made_once_and_private(tmp_path):
    manage("check", VAR_DIR=str(tmp_path))
    path = tmp_path / "secret_key"
    first = path.read_text()
    manage("check", VAR_DIR=str(tmp_path))
    assert path.read_text() == first
    assert len(first) >= 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_wrong_values_are_all_named(tmp_path):
    done = manage(
        "check",
        VAR_DIR=str(tmp_path),
        DEBUG="perhaps",
        SITE_URL="labels.example.org",
        RUN_LEASE_SECONDS="soon",
        ANSWER_LEASE_SECONDS="0",
        ENCODER_PATH="/nowhere",
    )
    assert done.returncode == 1
    for name in ("DEBUG", "SITE_URL", "RUN_LEASE_SECONDS", "ANSWER_LEASE_SECONDS", "ENCODER_PATH"):
        assert name in done.stderr


def test_a_wrong_database_url_is_named(tmp_path):
    done = manage("check", VAR_DIR=str(tmp_path), DATABASE_URL="nonsense")
    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr


def test_a_wrong_redis_url_is_named_without_its_password(tmp_path):
    for wrong in ("localhost:6379", "redis://:secret@/0", "redis://:secret@host:port/0", "amqp://guest:secret@host"):
        done = manage("check", VAR_DIR=str(tmp_path), REDIS_URL=wrong)
        assert done.returncode == 1
        assert "REDIS_URL" in done.stderr and "secret" not in done.stderr


def test_mail_that_cannot_work_is_named_without_its_password(tmp_path):
    done = manage("check", VAR_DIR=str(tmp_path), EMAIL_URL="smtp://me:secret@:25")
    assert done.returncode == 1
    assert "EMAIL_URL" in done.stderr and "secret" not in done.stderr
    done = manage("check", VAR_DIR=str(tmp_path), EMAIL_URL="smtp+tls://me:secret@mail.example.org:587")
    assert done.returncode == 1
    assert "EMAIL_FROM is no e-mail address" in done.stderr
    assert "the reader's own machine" in done.stderr  # SITE_URL is not set
    assert "secret" not in done.stderr


def test_celery_without_redis_is_refused_in_a_sentence(tmp_path):
    environment = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path)}
    words = [sys.executable, "-m", "celery", "-A", "labelapp", "worker"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "Celery needs REDIS_URL" in done.stdout + done.stderr


def test_celery_does_not_begin_where_a_restore_has_not_ended(tmp_path):
    (tmp_path / "restore.unfinished").touch()
    environment = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1"}
    words = [sys.executable, "-m", "celery", "-A", "labelapp", "worker", "--pool", "solo"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "did not finish" in done.stderr


def test_postgresql_connections_are_kept_checked_and_never_wait_for_ever(tmp_path):
    program = "from django.conf import settings; print(settings.DATABASES['default'])"
    url = "postgres://me@db.example.org/labels?connect_timeout=9"
    done = manage("shell", "--no-imports", "-c", program, VAR_DIR=str(tmp_path), DATABASE_URL=url)
    found = ast.literal_eval(done.stdout.splitlines()[-1])
    assert (found["CONN_MAX_AGE"], found["CONN_HEALTH_CHECKS"]) == (None, True)
    assert found["OPTIONS"] == {"connect_timeout": 9, "options": "-c lock_timeout=20s", "prepare_threshold": 5}


def test_production_settings_are_clean(tmp_path):
    done = manage(
        "check",
        "--deploy",
        "--fail-level",
        "WARNING",
        VAR_DIR=str(tmp_path),
        SITE_URL="https://labels.example.org",
        ALLOWED_HOSTS="labels.example.org",
    )
    assert done.returncode == 0, done.stderr


def test_without_https_deploy_complains(tmp_path):
    done = manage("check", "--deploy", "--fail-level", "WARNING", VAR_DIR=str(tmp_path))
    assert done.returncode == 1
