"""A number that grows whenever items are imported or withdrawn, which the events said until now."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotate", "0016_exports_so_far")]
    operations = [
        migrations.AddField(model_name="project", name="pool_revision", field=models.BigIntegerField(blank=True, null=True)),
    ]
