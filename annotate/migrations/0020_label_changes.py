"""A change of labels while a project lives: what became of each label, and how far the samples are complete."""

import annotate.models.base
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0019_plain_names"),
    ]

    operations = [
        migrations.AddField(
            model_name="label",
            name="lasting_id",
            field=models.CharField(default=annotate.models.base.make_public_id, max_length=20),
        ),
        migrations.AddField(
            model_name="labelschema",
            name="audit_cutoff",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="labelschema",
            name="reference_cutoff",
            field=models.FloatField(null=True),
        ),
        migrations.CreateModel(
            name="LabelMapping",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("keeps_gold", models.BooleanField()),
                ("keeps_probability", models.BooleanField()),
                (
                    "source",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="mapping", to="annotate.label"
                    ),
                ),
                (
                    "target",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sources",
                        to="annotate.label",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("target__isnull", False),
                            models.Q(("keeps_gold", False), ("keeps_probability", False)),
                            _connector="OR",
                        ),
                        name="label_mapping_keeps_only_with_target",
                    )
                ],
            },
        ),
    ]
