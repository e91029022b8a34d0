"""What holds the code together: migrations in step, no torch where none is needed, events append-only."""

import subprocess
import sys

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
