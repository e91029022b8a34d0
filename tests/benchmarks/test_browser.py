"""The browser benchmark prints what its --help explains, and loses nothing on the way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import chromium_path


@pytest.mark.slow
def test_it_prints_every_figure_as_one_json_line():
    if chromium_path() is None:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail("There is no Chromium, and REQUIRE_BROWSER=1 asks for one.")
        pytest.skip("There is no Chromium.")
    words = [sys.executable, "-m", "benchmarks.browser", "--items", "12", "--server-delay-ms", "100"]
    words += ["--offline-seconds", "2"]
    env = {name: value for name, value in os.environ.items() if name not in ("VAR_DIR", "TEST_DATABASE")}
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, env=env, timeout=200)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    found = json.loads(line)
    assert {"key_to_paint_p50_ms", "key_to_paint_p95_ms", "unsaved_shown_ms"} <= set(found)
    assert (found["answers"], found["lost"], found["doubled"], found["console_errors"]) == (12, 0, 0, 0)
