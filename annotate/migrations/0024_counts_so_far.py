"""Of the counts that one person has in the queue or at work only the oldest goes on: a person has one from now on."""

from django.db import migrations
from django.utils import timezone

_AT_WORK = ("queued", "running")


def cancel_further_counts(apps, schema_editor):
    Run = apps.get_model("annotate", "Run")
    counts = Run.objects.filter(kind="count", state__in=_AT_WORK, started_by__isnull=False).order_by("pk")
    seen = set()
    for run in counts:
        if run.started_by_id in seen:
            message = "Cancelled: a person counts one file at a time. Start it again."
            Run.objects.filter(pk=run.pk).update(state="cancelled", message=message, finished_at=timezone.now())
        seen.add(run.started_by_id)


class Migration(migrations.Migration):
    dependencies = [("annotate", "0023_proven_addresses")]
    operations = [migrations.RunPython(cancel_further_counts, migrations.RunPython.noop)]
