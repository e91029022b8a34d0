"""A delivered version carries the head of its project's seals; older ones carry none."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotate", "0030_seals_so_far")]
    operations = [
        migrations.AddField("deliveredversion", "sealed_head", models.CharField(blank=True, default="", max_length=64)),
        migrations.AddField("deliveredversion", "sealed_sequence", models.PositiveBigIntegerField(blank=True, null=True)),
    ]
