"""The import and export benchmark prints what its --help explains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_it_prints_every_figure_as_one_json_line():
    words = [sys.executable, "-m", "benchmarks.io", "--rows", "1500", "--repeats", "1"]
    env = {name: value for name, value in os.environ.items() if name not in ("VAR_DIR", "TEST_DATABASE")}
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True, env=env)
    [line] = done.stdout.splitlines()
    found = json.loads(line)
    assert {
        "db",
        "rows",
        "import_rows_per_s",
        "export_rows_per_s",
        "import_rss_growth_mb",
        "export_rss_growth_mb",
        "first_byte_s",
    } <= set(found)
    assert (found["db"], found["rows"]) == ("sqlite", 1500)
    assert found["import_rows_per_s"] > 0 and found["export_rows_per_s"] > 0 and found["first_byte_s"] > 0
