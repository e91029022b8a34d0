"""An export is a row."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import annotate.models.base


class Migration(migrations.Migration):
    dependencies = [("annotate", "0014_what_runs_made_so_far")]
    operations = [
        migrations.CreateModel(
            name="Export",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    annotate.models.base.PublicIdField(
                        default=annotate.models.base.make_public_id, editable=False, max_length=20, unique=True
                    ),
                ),
                ("folder", models.TextField()),
                ("manifest", models.CharField(max_length=200)),
                ("manifest_sha256", models.CharField(max_length=64)),
                ("n_rows", models.PositiveBigIntegerField()),
                ("files", models.JSONField()),
                ("created_at", models.DateTimeField()),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "delivered_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="exports",
                        to="annotate.deliveredversion",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="exports", to="annotate.project"
                    ),
                ),
                (
                    "run",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="export",
                        to="annotate.run",
                    ),
                ),
            ],
        ),
    ]
