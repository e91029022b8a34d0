"""Runs of commands were known by their parameters, {"by_hand": true}; now by who performs them."""

from django.db import migrations


def name_performers(apps, schema_editor):
    runs = apps.get_model("annotate", "Run").objects.filter(parameters__by_hand=True)
    runs.update(performer="command", parameters={})


def name_parameters(apps, schema_editor):
    runs = apps.get_model("annotate", "Run").objects.filter(performer="command")
    runs.update(performer="worker", parameters={"by_hand": True})


class Migration(migrations.Migration):
    dependencies = [("annotate", "0011_who_performs_a_run")]
    operations = [migrations.RunPython(name_performers, name_parameters)]
