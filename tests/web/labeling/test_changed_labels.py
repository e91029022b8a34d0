"""The labels change while somebody labels: what page and script are told, and what becomes of an answer."""

import pytest

from annotate.models import Annotation
from tests.annotate.asking import change_labels

pytestmark = pytest.mark.portable
NO_MAYBE = ("yes", "no")
OTHER_ORDER = ("maybe", "yes", "no")
MERGED = ("yes", ("not yes", ["no", "maybe"]))


class TestVersion:
    def test_every_reply_that_the_script_waits_for_names_it(self, ann_asks, project):
        lease = ann_asks.hold()
        change_labels(project, NO_MAYBE)
        assert ann_asks.post("next").json()["schema"] == 2
        assert ann_asks.post("renew", lease=lease).json()["schema"] == 2
        history = ann_asks.client.get(ann_asks.url("history"), headers={"Accept": "application/json"}).json()
        assert history["schema"] == 2
        project.rounds.get().queue.update(state="answered")
        ann_asks.post("release", lease=ann_asks.post("next").json()["held"])
        assert ann_asks.post("next").json()["schema"] == 2

    def test_the_page_says_which_labels_it_shows(self, ann_asks, project):
        ann_asks.post("next")
        change_labels(project, OTHER_ORDER)
        page = ann_asks.get("work").content.decode()
        assert 'data-schema="2"' in page
        assert '<input type="hidden" name="schema" value="2">' in page

    @pytest.mark.parametrize("schema", ["0", "x", str(2**31)])
    def test_an_impossible_one_is_refused(self, ann_asks, schema):
        lease = ann_asks.hold()
        assert ann_asks.post("submit", lease=lease, label=1, schema=schema, key="k").status_code == 422


class TestAnswer:
    def test_it_means_the_label_that_was_shown(self, ann_asks, project):
        lease = ann_asks.hold()
        change_labels(project, OTHER_ORDER)
        assert ann_asks.post("submit", lease=lease, label=0, schema=1, key="k").json()["is_counted"]
        assert Annotation.objects.get().label.name == "yes"

    def test_a_void_one_is_kept_and_the_script_told_why(self, ann_asks, project):
        lease = ann_asks.hold()
        change_labels(project, NO_MAYBE)
        told = ann_asks.post("submit", lease=lease, label=2, schema=1, key="k").json()
        assert told == {"is_counted": False, "why": "labels_changed"}
        again = ann_asks.post("submit", lease=lease, label=2, schema=1, key="k").json()
        assert again == told

    def test_whoever_sends_a_form_reads_the_sentence(self, ann_asks, project):
        lease = ann_asks.hold()
        change_labels(project, NO_MAYBE)
        ann_asks.form("submit", lease=lease, label=2, schema=1, key="k")
        assert "kept, but not counted, and the item is asked again" in ann_asks.get("work").content.decode()

    def test_after_an_undo_the_script_is_told_to_ask_again(self, ann_asks, project):
        from annotate import label_changes
        from tests.factories import owner_of

        change_labels(project, OTHER_ORDER)
        lease = ann_asks.hold()
        label_changes.undo(project=project, by=owner_of(project))
        answer = ann_asks.post("submit", lease=lease, label=0, schema=2, key="k")
        assert answer.status_code == 409
        assert "Please answer again" in answer.json()["error"]["message"]


class TestPast:
    @pytest.mark.parametrize(
        ("rows", "index", "words"), [(MERGED, 1, "not yes"), (NO_MAYBE, None, "maybe (no longer one of the labels)")]
    )
    def test_an_answer_shows_as_it_reads_now(self, ann_asks, project, rows, index, words):
        lease = ann_asks.answered(label=2)
        change_labels(project, rows)
        script = ann_asks.client.get(ann_asks.url("history"), headers={"Accept": "application/json"}).json()
        assert (script["items"][0]["answer"]["label"], script["items"][0]["words"]) == (index, words)
        for page in (ann_asks.get("history"), ann_asks.get("work"), ann_asks.get("work", change=lease)):
            assert words in page.content.decode()

    def test_a_draft_shows_as_it_reads_now(self, ann_asks, project):
        lease = ann_asks.hold()
        ann_asks.post("draft", lease=lease, label=2, schema=1, comment="hm")
        change_labels(project, MERGED)
        draft = ann_asks.post("next").json()["items"][0]["draft"]
        assert draft == {"label": 1, "is_flagged": False, "comment": "hm"}

    def test_a_draft_may_name_the_labels_that_were_shown(self, ann_asks, project):
        lease = ann_asks.hold()
        change_labels(project, NO_MAYBE)
        assert ann_asks.post("draft", lease=lease, label=2, schema=1, comment="hm").status_code == 204
        draft = ann_asks.post("next").json()["items"][0]["draft"]
        assert draft == {"label": None, "is_flagged": False, "comment": "hm"}
