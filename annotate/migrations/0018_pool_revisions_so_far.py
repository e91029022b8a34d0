"""It begins at the number that delivered versions were known by, the last such event's: they stay the same versions."""

from django.db import migrations
from django.db.models import Max


def begin_at_the_last_event(apps, schema_editor):
    Project, Event = apps.get_model("annotate", "Project"), apps.get_model("annotate", "Event")
    moved = Event.objects.filter(kind__in=("items.withdrawn", "import.completed"), project__isnull=False)
    for project, last in moved.order_by().values_list("project").annotate(last=Max("pk")):
        Project.objects.filter(pk=project).update(pool_revision=last)


class Migration(migrations.Migration):
    dependencies = [("annotate", "0017_pool_revision")]
    operations = [migrations.RunPython(begin_at_the_last_event, migrations.RunPython.noop)]
