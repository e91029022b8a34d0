"""Rows of any state of the loop, put there without doing the work that would bring them about."""

import hashlib
from datetime import timedelta

from django.utils import timezone

from annotate import projects
from annotate.models import (
    DeliveredVersion,
    Draw,
    Estimate,
    Export,
    Import,
    Item,
    ItemPayload,
    ModelVersion,
    Prediction,
    PromptVersion,
    QueueEntry,
    Round,
    Run,
)
from annotate.models.base import database_now
from annotate.models.project import Arm


def make_items(project, n=4, texts=None):
    """Items of one complete import, without going through a file."""
    now = timezone.now()
    source = Import.objects.create(
        project=project, file_name="x.jsonl", file_sha256="0", state="complete", n_items=n, finished_at=now
    )
    first = project.items.count()
    items = [
        Item.objects.create(
            project=project,
            source=source,
            ordinal=place,
            content_hash=hashlib.sha256(f"{project.pk} {place}".encode()).hexdigest(),
            prn=1 / 3 + place / 3000,  # where neither sample reaches, and examples come from
            fold=0,
        )
        for place in range(first, first + n)
    ]
    for place, item in enumerate(items):
        text = texts[place] if texts else f"text {item.ordinal}"
        ItemPayload.objects.create(item=item, payload={"text": text}, metadata={"secret": "metadata"})
    project.next_ordinal = first + n
    project.save(update_fields=["next_ordinal"])
    return items


def make_silver(project, items, version=1, status="ok"):
    schema = projects.current_schema(project)
    prompt, _ = PromptVersion.objects.get_or_create(
        project=project, version=version, defaults={"annotator": "a", "model": "m", "schema": schema, "sha256": version}
    )
    for item in items:
        ok = status == "ok"
        Prediction.objects.create(
            prompt=prompt, item=item, status=status, label_index=0 if ok else None, cost_micros=10
        )
    return prompt


def make_round(project, items, index=1, answered=0, is_closed=False, arm=Arm.RANDOM):
    now = database_now()
    current = Round.objects.create(
        project=project,
        index=index,
        batch=len(items),
        shares={},
        strategy="margin",
        seed=1,
        state="closed" if is_closed else "open",
        closed_at=now if is_closed else None,
    )
    for place, item in enumerate(items):
        state = QueueEntry.State.ANSWERED if place < answered else QueueEntry.State.OPEN
        QueueEntry.objects.create(round=current, item=item, position=place, overlap=1, is_blind=True, state=state)
        Draw.objects.create(project=project, item=item, round=current, arm=arm, reason="test")
    return current


def make_model(project, version=1, is_champion=True):
    project.model_versions.update(is_champion=False)
    return ModelVersion.objects.create(
        project=project, version=version, schema=projects.current_schema(project), encoder="e", config={}, seed=1,
        snapshot_file="", snapshot_sha256="", artefact_file="", artefact_sha256="", is_champion=is_champion,
        metrics={"n_gold": 4, "n_silver": 4, "n_reference": 0, "reference_accuracy": None},
    )  # fmt: skip


def delivery_of(k):
    """What a frozen version keeps of Ĉ: here the machine is right in eight of ten."""
    rest = 0.2 / k
    return {"transition": [[0.8 if i == j else rest for j in range(k + 1)] for i in range(k)]}


def make_version(project, model=None, prompt=None, version=1, delivery=None):
    schema = projects.current_schema(project)
    return DeliveredVersion.objects.create(
        project=project, version=version, schema=schema, model=model, prompt=prompt, rule="llm",
        delivery=delivery or delivery_of(schema.labels.count()), last_ordinal=0, n_pool=project.items.count(),
        n_in_a=0, file="", file_sha256="", fingerprint=str(version),
    )  # fmt: skip


def make_estimate(version, estimand="delivered", value=0.9, low=0.8, high=0.95, n=50, **fields):
    last = version.project.rounds.filter(state="closed").order_by("-index").first()
    fields = {"round": last, "population": 100, "n_unresolved": 0, "method": "wilson", **fields}
    return Estimate.objects.create(
        project=version.project, delivered_version=version, estimand=estimand, value=value, low=low, high=high, n=n,
        **fields,
    )  # fmt: skip


def make_export(version, **fields):
    values = {"folder": "", "manifest": "", "manifest_sha256": "", "n_rows": 0, "files": []}
    return Export.objects.create(
        **{"project": version.project, "delivered_version": version, "created_at": database_now(), **values, **fields}
    )


def make_run(project, kind="train", state="succeeded", **fields):
    now = database_now()
    ends = {
        "queued": {},
        "paused": {"started_at": now},
        "running": {"started_at": now, "heartbeat_at": now, "lease_until": now + timedelta(seconds=60)},
    }.get(state, {"started_at": now, "finished_at": now})
    return Run.objects.create(**{"project": project, "kind": kind, "state": state, **ends, **fields})


def make_finished_round(project, n=4, drawn=2):
    """Items with silver, a closed round over some of them, and a model that has seen it."""
    items = make_items(project, n)
    prompt = make_silver(project, items)
    make_round(project, items[:drawn], answered=drawn, is_closed=True)
    return make_version(project, make_model(project), prompt)
