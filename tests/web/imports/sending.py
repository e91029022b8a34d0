"""Files on their way in: sent by a form, received, and imported as a worker does."""

import html

from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotate import files, tasks
from annotate.imports import uploads
from annotate.models import Run, Upload
from annotate.runs import lifecycle
from tests.annotate.imports.taking_in import interrupt
from tests.bad_files import GOOD_CSV
from tests.factories import owner_of


def page(project, name="list", *ids):
    return reverse(f"imports-{name}", args=[project.slug, *ids])


def send(client, project, content=GOOD_CSV, name="items.csv", **more):
    return client.post(page(project, "upload"), {"file": SimpleUploadedFile(name, content)}, **more)


def text_of(response) -> str:
    return html.unescape(response.content.decode())


def kept() -> list:
    """Files in the store, and rows that speak of them."""
    store = files.path_of("uploads")
    return [*(path for path in store.rglob("*") if path.is_file()), *Upload.objects.all()]


def sent(project, content=GOOD_CSV, name="items.csv") -> Upload:
    return uploads.receive(project=project, by=owner_of(project), file_name=name, chunks=[content])


def perform(run: Run) -> Run:
    """What a worker does with it."""
    claimed = lifecycle.claim_next()
    assert claimed == run
    with lifecycle.taken_up(public_id=run.public_id, attempt=claimed.attempt) as attempt:
        tasks.perform(attempt)
    run.refresh_from_db()
    return run


def interrupted(project, monkeypatch) -> Upload:
    """An import of two rows that stopped after the first, with nobody at it."""
    upload = sent(project)
    interrupt(monkeypatch, upload)
    Run.objects.update(state=Run.State.ERRORED)
    return upload
