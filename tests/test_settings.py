"""Settings: none needed, wrong ones named, production ones clean. Each in a process of its own."""

import os
import stat
import subprocess

from tests.processes import run_manage


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
