"""Whether a worker or a command performs a run gets a column of its own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotate", "0010_fewer_indexes")]
    operations = [
        migrations.AddField(
            model_name="run",
            name="performer",
            field=models.CharField(
                choices=[("worker", "Worker"), ("command", "Command")], default="worker", max_length=10
            ),
        ),
    ]
