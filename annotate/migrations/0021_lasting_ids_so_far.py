"""Each label that stands gets an id of its own: the column's default gave all of a database the same."""

from django.db import migrations

from annotate.models.base import make_public_id


def give_each_its_own(apps, schema_editor):
    Label = apps.get_model("annotate", "Label")
    labels = list(Label.objects.only("pk"))
    for label in labels:
        label.lasting_id = make_public_id()
    Label.objects.bulk_update(labels, ["lasting_id"], batch_size=500)


class Migration(migrations.Migration):
    dependencies = [("annotate", "0020_label_changes")]
    operations = [migrations.RunPython(give_each_its_own, migrations.RunPython.noop)]
