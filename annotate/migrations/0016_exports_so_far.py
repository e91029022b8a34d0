"""Each export was an event; where a run wrote it, the run's result names its files.

An event names no folder. An export that no run wrote has the files of its manifest, where that lies unchanged among
the exports; one that a command wrote elsewhere, or whose files are gone, stays as a row without files.
"""

import hashlib
import json
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import migrations

CUT_OFF = timedelta(milliseconds=1)  # as in 0014
NOWHERE = {"folder": "", "manifest": "", "files": []}


def make_rows(apps, schema_editor):
    Event, Export = apps.get_model("annotate", "Event"), apps.get_model("annotate", "Export")
    DeliveredVersion = apps.get_model("annotate", "DeliveredVersion")
    for event in Event.objects.filter(kind="export.completed").order_by("pk").iterator():
        wanted = {"project": event.project_id, "version": event.data.get("version")}
        delivered = DeliveredVersion.objects.select_related("project").filter(**wanted).first()
        if delivered is not None:
            run = run_of(apps, event)
            Export.objects.filter(run=run, run__isnull=False).update(run=None)  # a second attempt wrote it again
            Export.objects.create(
                project=delivered.project,
                delivered_version=delivered,
                run=run,
                manifest_sha256=event.data.get("manifest_sha256", ""),
                n_rows=event.data.get("n_rows", 0),
                created_by_id=event.actor_id,
                created_at=event.at,
                **(of_result(run.result) if run else of_manifest(delivered, event.data.get("manifest_sha256", ""))),
            )


def run_of(apps, event):
    """The run that was exporting this version when the event happened, and has succeeded."""
    runs = apps.get_model("annotate", "Run").objects.filter(project=event.project_id, kind="export", state="succeeded")
    during = runs.filter(started_at__lte=event.at, finished_at__gte=event.at - CUT_OFF)
    return during.filter(result__version=event.data.get("version")).order_by("pk").last()


def of_result(result):
    files = [{**file, "format": Path(file["name"]).suffix[1:]} for file in result.get("files", [])]
    return {"folder": stored(result.get("folder", "")), "manifest": result.get("manifest", ""), "files": files}


def of_manifest(delivered, sha256):
    project = delivered.project
    name = f"{project.slug}-v{delivered.version}.manifest.json"
    try:
        content = (Path(settings.VAR_DIR) / "exports" / project.slug / name).read_bytes()
    except OSError:
        return NOWHERE
    if hashlib.sha256(content).hexdigest() != sha256:
        return NOWHERE
    files = [
        {"name": file["name"], "format": file["format"], "bytes": file["n_bytes"], "sha256": file["sha256"]}
        for file in json.loads(content)["files"]
    ]
    return {"folder": f"exports/{project.slug}", "manifest": name, "files": files}


def stored(folder):
    """The name in the store of a folder among the exports; any other stays the path that it is."""
    root, path = (Path(settings.VAR_DIR) / "exports").resolve(), Path(folder).resolve()
    return f"exports/{path.relative_to(root).as_posix()}" if folder and path.is_relative_to(root) else folder


def delete_rows(apps, schema_editor):
    apps.get_model("annotate", "Export").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("annotate", "0015_exports")]
    operations = [migrations.RunPython(make_rows, delete_rows)]
