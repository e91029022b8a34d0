"""Failed answers of machines can be asked again, as further attempts, and keep an excerpt of what was replied."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0021_lasting_ids_so_far"),
    ]

    operations = [
        migrations.AddField(
            model_name="prediction",
            name="reply",
            field=models.CharField(max_length=500, null=True),
        ),
        migrations.AddField(
            model_name="prediction",
            name="attempt",
            field=models.PositiveSmallIntegerField(default=1),
        ),
        migrations.AddField(
            model_name="prediction",
            name="is_current",
            field=models.BooleanField(default=True),
        ),
        migrations.RemoveConstraint(
            model_name="prediction",
            name="prediction_once",
        ),
        migrations.AddConstraint(
            model_name="prediction",
            constraint=models.UniqueConstraint(fields=("prompt", "item", "attempt"), name="prediction_attempt_once"),
        ),
        migrations.AddConstraint(
            model_name="prediction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_current", True)), fields=("prompt", "item"), name="prediction_one_current"
            ),
        ),
    ]
