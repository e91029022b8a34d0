"""What the pages of items are asked for, and answers, gold and imports that they show."""

from django.urls import reverse

from annotate import projects
from annotate.models import Annotation, Gold, Import, RejectedRow
from annotate.models.project import Arm
from tests.factories import owner_of

HTMX = {"HTTP_HX_REQUEST": "true"}
PAGES = ("items-list", "items-skipped", "items-flagged", "items-quarantined")
EVIL = '<script>alert("x")</script>'


def get(client, project, name, query="", **headers):
    return client.get(reverse(name, args=[project.slug]) + query, **headers)


def make_annotation(project, item, by=None, **fields):
    person = by or owner_of(project)
    if "skip_reason" not in fields:
        fields["label"] = projects.current_schema(project).labels.get(name="yes")
    key = f"{item.pk}-{person.pk}"
    return Annotation.objects.create(
        project=project, item=item, annotator=person, revision=1, is_blind=True, idempotency_key=key, **fields
    )


def make_gold(project, item):
    label = projects.current_schema(project).labels.get(name="yes")
    return Gold.objects.create(
        project=project, item=item, label=label, rule="one_trusted", origin=Arm.ACTIVE, is_blind=True
    )


def make_import(project, rejected=(), kind="rejected"):
    source = Import.objects.create(
        project=project, file_name="rows.jsonl", file_sha256="0", state="complete", n_rejected=len(rejected)
    )
    RejectedRow.objects.bulk_create(
        RejectedRow(source=source, line=line, reason='has no "text"', excerpt=text, kind=kind)
        for line, text in enumerate(rejected, start=1)
    )
    return source
