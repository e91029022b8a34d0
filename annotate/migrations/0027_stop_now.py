"""Two more things that can be asked of a run: to pause, or to end, without waiting for calls in flight."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0026_storing"),
    ]

    operations = [
        migrations.AlterField(
            model_name="run",
            name="requested_action",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "None"),
                    ("pause", "Pause"),
                    ("cancel", "Cancel"),
                    ("pause_now", "Pause Now"),
                    ("cancel_now", "Cancel Now"),
                ],
                db_column="wish",
                default="",
                max_length=10,
            ),
        ),
    ]
