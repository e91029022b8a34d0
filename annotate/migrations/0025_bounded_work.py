"""A person counts one file at a time; a run keeps what it found out; a file that is being sent has room in its quota."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0024_counts_so_far"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="findings",
            field=models.JSONField(default=dict),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "count"), ("state__in", ["queued", "running"])),
                fields=("started_by",),
                name="run_one_count_of_a_person",
            ),
        ),
        migrations.AddIndex(
            model_name="upload",
            index=models.Index(fields=["project", "created_at"], name="upload_of_a_day"),
        ),
        migrations.CreateModel(
            name="UploadReservation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("n_bytes", models.PositiveBigIntegerField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=models.deletion.CASCADE,
                        related_name="upload_reservations",
                        to="annotate.project",
                    ),
                ),
            ],
        ),
    ]
