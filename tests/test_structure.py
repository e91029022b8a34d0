"""What holds the code together: migrations in step, no torch where none is needed, events append-only."""

import subprocess
import sys

import grimp
import pytest
from django.core.management import call_command
from django.db import DatabaseError, transaction

from annotate.models import Event
from annotate.models.event import record


@pytest.mark.django_db
def test_migrations_are_in_step_with_the_models():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize(
    "module",
    [
        "labelapp.wsgi",
        "labelapp.urls",
        "annotate.rounds",
        "annotate.labeling.answers",
        "annotate.reports.progress",
        "annotate.dataset.export",
        "annotate.tasks",
        "annotate.management.commands.worker",
        "annotate.management.commands.serve",
    ],
)
def test_torch_loads_only_with_an_encoder(module, tmp_path):
    """Web processes and worker parents import these; 750 MB of torch must not come along."""
    program = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'labelapp.settings';"
        "import django; django.setup();"
        f"import {module}; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    environment = {"VAR_DIR": str(tmp_path), "PATH": "/usr/bin"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions count too: a circle that is put off is still a circle."""
    graph = grimp.build_graph("annotate", "models_ml", "labelapp", "benchmarks")
    assert circles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == [["b", "c"]]


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The groups of two and more modules in which each reaches the others by imports."""
    reached = {module: reachable(module, imports) for module in imports}
    groups = {tuple(sorted(other for other in reached[module] if module in reached[other])) for module in imports}
    return sorted(list(group) for group in groups if len(group) > 1)


def reachable(module: str, imports: dict[str, set[str]]) -> set[str]:
    """What `module` imports, directly or through others."""
    seen: set[str] = set()
    waiting = list(imports[module])
    while waiting:
        if (one := waiting.pop()) not in seen:
            seen.add(one)
            waiting.extend(imports.get(one, ()))
    return seen


@pytest.mark.django_db
class TestEvents:
    def test_it_refuses_updates(self):
        event = record("something", project=None, by=None)
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            Event.objects.filter(pk=event.pk).update(kind="something else")

    def test_it_refuses_deletions(self):
        event = record("something", project=None, by=None)
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            Event.objects.filter(pk=event.pk).delete()
