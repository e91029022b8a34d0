"""One run of a kind is alive per project, so what was made between its request and its end is what it made.

That holds for all but closed rounds, which a command may close while a run waits to close them: a run that has
succeeded says which round it closed.
"""

from datetime import timedelta

from django.db import migrations

# SQLite's clock, which gave runs their ends, cuts off what is below a millisecond.
CUT_OFF = timedelta(milliseconds=1)
# kind of run: (model, its column, the time that the row was made)
MADE = {
    "draw": ("Round", "run", "opened_at"),
    "close": ("Round", "closing_run", "closed_at"),
    "train": ("ModelVersion", "run", "created_at"),
    "import": ("Import", "run", "finished_at"),
}


def name_runs(apps, schema_editor):
    for run in apps.get_model("annotate", "Run").objects.filter(kind__in=MADE).order_by("pk").iterator():
        model, column, moment = MADE[run.kind]
        rows = apps.get_model("annotate", model).objects.filter(project=run.project_id)
        rows = rows.filter(**{f"{moment}__gte": run.created_at - CUT_OFF, f"{column}__isnull": True})
        if run.finished_at is not None:
            rows = rows.filter(**{f"{moment}__lt": run.finished_at + CUT_OFF})
        if run.kind == "import":
            rows = rows.filter(options__kind__isnull=True)  # corrections are made by hand, item by item
        if run.kind == "close" and run.state == "succeeded":
            rows = rows.filter(index=run.result.get("round"))
        rows.update(**{column: run})


class Migration(migrations.Migration):
    dependencies = [("annotate", "0013_what_a_run_made")]
    operations = [migrations.RunPython(name_runs, migrations.RunPython.noop)]
