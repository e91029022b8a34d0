"""S-1: whatever the machines say of blind questions, an annotator gets the same bytes."""

import re

import numpy as np
import pytest
from django.urls import reverse

from annotate.models import Annotation, Draw, ItemPayload, Prediction, PromptVersion, QueueEntry
from annotate.models.project import Role
from annotate.web.urls import urlpatterns
from tests.factories import make_member

pytestmark = [pytest.mark.django_db, pytest.mark.portable]

# New with each page: tokens against forged requests, keys against doubles.
_FRESH = re.compile(rb'(csrfmiddlewaretoken" value="[^"]*"|name="key" value="[^"]*")')
_ACTIONS = ("next", "renew", "draft", "release", "reveal", "why", "submit", "change")


def routes(project) -> list[str]:
    """Every page of the project that needs no further name."""
    names = [
        path.name for path in urlpatterns if "<slug:slug>" in str(path.pattern) and str(path.pattern).count("<") == 1
    ]
    return [reverse(name, args=[project.slug]) for name in names]


def machines_say(project, label: int, score: float) -> None:
    """The machine's label and confidence of every item, why it was drawn, and what its file said besides."""
    prompt = project.prompts.first() or PromptVersion.objects.create(
        project=project, version=1, annotator="a", model="m", schema=project.schemas.get(), sha256="0"
    )
    Prediction.objects.filter(prompt=prompt).delete()
    vector = np.full(3, (1 - score) / 2, dtype="<f4")
    vector[label] = score
    Prediction.objects.bulk_create(
        Prediction(prompt=prompt, item=item, status="ok", label_index=label, probabilities=vector.tobytes())
        for item in project.items.all()
    )
    Draw.objects.filter(project=project).update(score=score, pi=score, reason=f"margin {score}")
    ItemPayload.objects.filter(item__project=project).update(metadata={"gpt_label": label, "sure": score})


def everything(asks, answered: str, held: list[str]) -> dict[str, tuple[int, bytes]]:
    """Every response that somebody who annotates can get, with what changes by itself blotted out."""
    found = {}
    for url in (*routes(asks.project), "/", f"/p/{asks.project.slug}/label/?change={answered}"):
        for kind, headers in (("page", {}), ("json", {"Accept": "application/json"}), ("htmx", {"HX-Request": "true"})):
            response = asks.client.get(url, headers=headers)
            found[f"GET {url} {kind}"] = (response.status_code, _FRESH.sub(b"", response.content))
    for action in _ACTIONS:
        for lease in (answered, held[0]):
            fields = {"lease": lease, "label": 1, "key": f"{action} {lease}", "comment": "", "shown": held[0]}
            if action == "submit" and lease != answered or action == "release":
                continue  # what is held stays held, so that the second round finds the same
            response = asks.post(action, **fields)
            found[f"POST {action} {lease == answered}"] = (response.status_code, _FRESH.sub(b"", response.content))
    return found


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER])
def test_what_the_machines_say_changes_no_byte(project, asking, role):
    asks = asking(make_member(project, "Ann", role=role))
    machines_say(project, 0, 0.9)
    assert set(QueueEntry.objects.values_list("suggestion", flat=True)) == {"hidden"}
    answered = asks.answered(label=2)
    held = asks.post("next").json()["held"]
    everything(asks, answered, held)  # the first time some things are done that the next time are done already
    before = everything(asks, answered, held)
    assert len(before) > 40
    machines_say(project, 1, 0.4)
    after = everything(asks, answered, held)
    assert {name for name in before if before[name] != after[name]} == set()


def test_the_test_sees_a_leak(project, asking):
    asks = asking(make_member(project, "Ann"))
    QueueEntry.objects.update(suggestion="shown", is_blind=False)
    machines_say(project, 0, 0.9)
    answered = asks.answered(label=2)
    held = asks.post("next").json()["held"]
    everything(asks, answered, held)
    before = everything(asks, answered, held)
    machines_say(project, 1, 0.4)
    after = everything(asks, answered, held)
    assert {name for name in before if before[name] != after[name]}
    assert Annotation.objects.filter(is_blind=True).count() == 0
