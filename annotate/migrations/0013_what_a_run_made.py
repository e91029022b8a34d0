"""Rounds, model versions and imports say which run made them; times need not be compared to find that out."""

import django.db.models.deletion
from django.db import migrations, models


def made_by(related_name):
    return models.ForeignKey(
        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name=related_name, to="annotate.run"
    )


class Migration(migrations.Migration):
    dependencies = [("annotate", "0012_runs_of_commands")]
    operations = [
        migrations.AddField(model_name="round", name="run", field=made_by("rounds")),
        migrations.AddField(model_name="round", name="closing_run", field=made_by("closed_rounds")),
        migrations.AddField(model_name="modelversion", name="run", field=made_by("model_versions")),
        migrations.AddField(model_name="import", name="run", field=made_by("imports")),
    ]
