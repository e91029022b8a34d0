"""Signs of life of workers and of the database, and on PostgreSQL counters of requests, which no crash need keep."""

from django.db import migrations, models

# Unlogged: a commit that changes nothing else waits for no disk. Half a page stays free, so that changing a row in
# place writes no index.
_CREATE = (
    "CREATE UNLOGGED TABLE annotate_requestrate (key text PRIMARY KEY, at double precision NOT NULL) "
    "WITH (fillfactor = 50)"
)


def create_rates(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(_CREATE)


def drop_rates(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TABLE annotate_requestrate")


class Migration(migrations.Migration):
    dependencies = [("annotate", "0025_bounded_work")]
    operations = [
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.RunPython(create_rates, drop_rates),
    ]
