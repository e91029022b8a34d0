"""One person alone and eleven items, by the pages: label everything, skip one, close, train, estimate, export."""

import html
import itertools
import re

import orjson
import pytest
from django.urls import reverse

from annotate import files, tasks
from annotate.models import Draw, Export, Gold, Item
from annotate.models.project import Arm
from annotate.reports import next_step, progress
from annotate.runs import lifecycle
from tests.annotate.asking import problems
from tests.annotate.test_rounds import import_rows
from tests.factories import make_project, owner_of

pytestmark = [pytest.mark.django_db, pytest.mark.portable]


class Alone:
    """The owner with the pages of one project, and a worker that does at once what the pages start."""

    def __init__(self, project, client):
        self.project, self.client, self.keys = project, client, itertools.count()

    def url(self, name):
        return reverse(name, args=[self.project.slug])

    def overview(self):
        return html.unescape(self.client.get(self.url("overview-show")).content.decode())

    def start(self, kind, **fields):
        assert f'name="kind" value="{kind}"' in self.overview(), kind  # the page offers it
        response = self.client.post(self.url("runs-start"), {"kind": kind, "back": "overview", **fields})
        assert response.status_code in (302, 303), response.content.decode()
        run = lifecycle.claim_next()
        with lifecycle.taken_up(public_id=run.public_id, attempt=run.attempt) as attempt:
            tasks.perform(attempt)
        run.refresh_from_db()
        return run

    def question(self):
        """The lease on the screen, after asking for a question; None with an empty page."""
        self.client.post(self.url("labeling-next"))
        body = self.client.get(self.url("labeling-work")).content.decode()
        found = re.search(r'name="lease" value="([^"]+)"', body)
        return found and found[1]

    def answer(self, **said):
        lease = self.question()
        assert lease
        fields = {"lease": lease, "key": f"key {next(self.keys)}", **said}
        assert self.client.post(self.url("labeling-submit"), fields).status_code in (302, 303)

    def step(self):
        return next_step.choose(self.project, progress.progress(self.project)).kind


@pytest.fixture
def alone(tmp_path, signed_in):
    project = make_project(labels=("yes", "no"))
    import_rows(project, tmp_path, 11)
    return Alone(project, signed_in(owner_of(project)))


def exported(alone):
    run = alone.start("export", formats="jsonl")
    folder = files.path_of(Export.objects.get(run=run).folder)
    (data,) = folder.glob("*.jsonl")
    return [orjson.loads(line) for line in data.read_bytes().splitlines()]


class TestEverythingByHand:
    def test_a_pool_of_eleven_becomes_eleven_gold_labels(self, alone):
        assert "Everything: all 11 items without gold." in alone.overview()
        assert alone.start("draw", size="everything").result == {"round": 1, "n_questions": 11}
        for place in range(11):
            alone.answer(label=place % 2)
        assert alone.question() is None
        assert "Every question of round 1 is dealt with: close the round." in alone.overview()
        assert alone.start("close").result["n_gold"] == 11
        assert alone.step() == "estimate"
        assert alone.start("estimate").result["delivered"] == {
            "value": 1.0,
            "low": 1.0,
            "high": 1.0,
            "n": 0,
            "reason": None,
        }
        assert alone.step() == "export"
        rows = exported(alone)
        assert [row["label_source"] for row in rows] == ["gold"] * 11
        assert alone.step() == "done"
        assert problems(alone.project) == {}

    def test_what_was_skipped_comes_back_once_and_the_rest_is_exported(self, alone):
        alone.start("draw", size="everything")
        alone.answer(skip="unclear")
        for place in range(10):
            alone.answer(label=place % 2)
        assert "1 of 11 questions of round 1 waits for an answer." in alone.overview()
        assert "Answer questions" in alone.overview()  # and it leads to a question:
        alone.answer(skip="unclear")
        assert alone.question() is None
        assert "close the round" in alone.overview()
        assert alone.start("close").result["n_gold"] == 10
        rows = exported(alone)
        assert sorted(str(row["label_source"]) for row in rows).count("gold") == 10
        assert problems(alone.project) == {}

    def test_a_model_trains_on_what_the_audit_did_not_obtain(self, alone):
        alone.start("draw", size="everything")
        for place in range(11):
            alone.answer(label=place % 2)
        alone.start("close")
        n_trainable = Gold.objects.current().exclude(origin=Arm.AUDIT).count()
        assert alone.start("train").result["n_gold"] == n_trainable == 9
        assert alone.start("estimate").result["delivered"]["value"] == 1.0


class TestSmallRounds:
    def test_the_overview_says_why_a_round_is_small(self, alone):
        run = alone.start("draw", batch="100")
        words = "Audit sample: 3 of 20 questions, because a sample is at most a third of the pool."
        assert words in alone.overview()
        assert run.result["asked_for"] == 100 and len(run.result["short"]) == 3

    def test_an_empty_list_is_refused(self, alone):
        response = alone.client.post(alone.url("runs-start"), {"kind": "draw", "size": "items", "items": " \n "})
        assert response.status_code == 422


class TestFromASearch:
    def search(self, alone, **query):
        return html.unescape(alone.client.get(alone.url("items-list"), query).content.decode())

    def test_what_was_found_can_be_labeled(self, alone):
        body = self.search(alone, q="item-1")
        names = re.search(r'name="items"[^>]*>([^<]+)</textarea>', body)[1].split()
        found = Item.objects.filter(project=alone.project, external_id__contains="item-1")
        assert sorted(names) == sorted(found.values_list("public_id", flat=True))
        run = alone.start("draw", size="items", items="\r\n".join(names))
        assert run.result["n_questions"] >= len(names)
        drawn = Draw.objects.filter(project=alone.project, item__in=found).exclude(arm=Arm.AUDIT)
        assert drawn.values("item").distinct().count() == len(names)

    def test_it_is_not_offered_without_a_search_or_while_a_round_is_open(self, alone):
        assert 'name="items"' not in self.search(alone)
        alone.start("draw", batch="3")
        assert 'name="items"' not in self.search(alone, q="item-1")

    @pytest.mark.parametrize("name", ["arm", "split", "u", "prn"])
    def test_a_search_knows_no_arm_no_split_and_no_random_number(self, alone, name):
        with_it = self.search(alone, q="item", **{name: "audit"})
        names = r'name="items"[^>]*>([^<]+)</textarea>'
        assert re.search(names, with_it)[1] == re.search(names, self.search(alone, q="item"))[1]
