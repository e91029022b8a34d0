"""POST /p/<slug>/label/submit and change: answers in."""

import pytest
from django.utils import timezone

from annotate.models import Annotation, Lease
from tests.factories import make_member, make_project, owner_of
from tests.web.labeling.conftest import active
from tests.web.labeling.rows import close, make_round


class TestSubmit:
    def test_it_stores_an_answer(self, ann_asks):
        answer = ann_asks.post(
            "submit", lease=ann_asks.hold(), label=1, key="k1", seconds="2.5", is_flagged="1", comment="a\r\nb"
        )
        assert answer.json() == {"is_counted": True}
        row = Annotation.objects.get()
        assert (row.label.index, row.seconds, row.is_flagged, row.comment) == (1, 2.5, True, "a\nb")

    def test_it_stores_a_skip(self, ann_asks):
        ann_asks.post("submit", lease=ann_asks.hold(), skip="unclear", key="k1")
        assert Annotation.objects.get().skip_reason == "unclear"

    def test_the_same_again_is_stored_once(self, ann_asks):
        lease = ann_asks.hold()
        for _ in range(2):
            assert ann_asks.post("submit", lease=lease, label=1, key="k1").status_code == 200
        assert Annotation.objects.count() == 1

    def test_the_key_again_for_another_answer_is_a_conflict(self, ann_asks):
        lease = ann_asks.hold()
        ann_asks.post("submit", lease=lease, label=1, key="k1")
        answer = ann_asks.post("submit", lease=lease, label=2, key="k1")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (409, "conflict")

    def test_a_late_answer_is_kept_and_said_to_be_late(self, ann_asks):
        lease = ann_asks.hold()
        Lease.objects.update(ended_at=timezone.now(), outcome="expired")
        for _ in range(2):
            said = ann_asks.post("submit", lease=lease, label=1, key="k1").json()
            assert (said["is_counted"], said["why"]) == (False, "taken")
        assert Annotation.objects.get().is_counted is False

    def test_after_the_round_it_says_that_the_round_was_closed(self, ann_asks, project):
        lease = ann_asks.hold()
        close(project.rounds.get(), owner_of(project))
        assert ann_asks.post("submit", lease=lease, label=1, key="k1").json()["why"] == "round_closed"

    def test_of_a_withdrawn_item_it_says_so(self, ann_asks, project):
        lease = ann_asks.hold()
        Lease.objects.update(ended_at=timezone.now(), outcome="released")
        project.items.update(withdrawn_at=timezone.now())
        assert ann_asks.post("submit", lease=lease, label=1, key="k1").json()["why"] == "withdrawn"

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"label": 1, "skip": "unclear"},
            {"label": 99},
            {"label": -1},
            {"label": "one"},
            {"label": "9" * 40},
            {"skip": "because"},
            {"label": 1, "key": ""},
            {"label": 1, "key": "k" * 101},
            {"label": 1, "seconds": "nan"},
            {"label": 1, "seconds": "-3"},
            {"label": 1, "seconds": "1e400"},
            {"label": 1, "comment": "x" * 5_001},
            {"label": 1, "comment": "x" * 900_000},
            {"label": 1, "comment": "a\x00b"},
        ],
    )
    def test_what_cannot_be_used_is_refused_with_a_sentence(self, ann_asks, fields):
        answer = ann_asks.post("submit", **{"lease": ann_asks.hold(), "key": "k1", **fields})
        assert answer.status_code == 422
        assert len(answer.json()["error"]["message"]) > 10
        assert not Annotation.objects.exists()

    def test_a_megabyte_is_too_much(self, ann_asks):
        lease = ann_asks.hold()
        assert ann_asks.post("submit", lease=lease, key="k1", label=1, comment="x" * 1_100_000).status_code == 413

    @pytest.mark.parametrize("lease", ["", "nope", "x" * 5_000, "\x00"])
    def test_a_forged_lease_stores_nothing(self, ann_asks, lease):
        assert ann_asks.post("submit", lease=lease, label=1, key="k1").status_code in (404, 409, 422)
        assert not Annotation.objects.exists()

    def test_somebody_elses_lease_stores_nothing(self, ann_asks, asking, project):
        theirs = asking(make_member(project, "Ben")).hold()
        assert ann_asks.post("submit", lease=theirs, label=1, key="k1").status_code in (404, 409)
        assert not Annotation.objects.exists()

    def test_another_projects_lease_stores_nothing(self, asking, ann, ann_asks):
        other = make_project()
        make_round(other)
        theirs = asking(owner_of(other), other).hold()
        assert ann_asks.post("submit", lease=theirs, label=1, key="k1").status_code in (404, 409)

    def test_a_form_goes_on_with_the_next(self, ann_asks, ann):
        ann_asks.form("next")
        first = active(ann).get()
        answer = ann_asks.form("submit", lease=first.public_id, label=1, key="k1")
        assert (answer.status_code, answer["Location"]) == (303, ann_asks.url("work"))
        assert active(ann).get().entry.position == 2
        assert "Saved" in ann_asks.get("work").content.decode()

    def test_a_form_sent_twice_is_stored_once(self, ann_asks, ann):
        ann_asks.form("next")
        lease = active(ann).get().public_id
        for _ in range(2):
            assert ann_asks.form("submit", lease=lease, label=1, key="k1").status_code == 303
        assert Annotation.objects.count() == 1

    def test_a_form_comes_back_with_what_was_written(self, ann_asks, ann):
        ann_asks.form("next")
        answer = ann_asks.form("submit", lease=active(ann).get().public_id, label=77, key="k1", comment="my thought")
        assert answer.status_code == 422
        assert "my thought" in answer.content.decode()

    @pytest.mark.parametrize("label, most", [({"label": 1}, 8), ({"skip": "unclear"}, 8)])
    def test_it_asks_rarely(self, ann_asks, label, most, at_most):
        # Six of them in labeling.submit; an answer that neither becomes gold nor frees a slot needs less.
        lease = ann_asks.hold()
        with at_most(most):
            ann_asks.post("submit", lease=lease, key="k1", **label)


class TestChange:
    @pytest.mark.parametrize("fields", [{"label": 2}, {"skip": "bad_data"}])
    def test_it_replaces_my_answer(self, ann_asks, fields):
        lease = ann_asks.answered(label=0)
        assert ann_asks.post("change", lease=lease, key="k2", **fields).status_code == 200
        now = Annotation.objects.get(is_current=True)
        assert (now.label.index if now.label else None, now.skip_reason) == (fields.get("label"), fields.get("skip"))

    def test_a_skip_becomes_a_label(self, ann_asks):
        lease = ann_asks.hold()
        ann_asks.post("submit", lease=lease, skip="unclear", key="k1")
        assert ann_asks.post("change", lease=lease, label=1, key="k2").status_code == 200

    def test_it_is_too_late_after_the_round(self, ann_asks, project):
        lease = ann_asks.answered()
        close(project.rounds.get(), owner_of(project))
        answer = ann_asks.post("change", lease=lease, label=1, key="k2")
        assert answer.status_code == 409
        assert "closed" in answer.json()["error"]["message"]

    def test_it_needs_an_answer_to_change(self, ann_asks):
        assert ann_asks.post("change", lease=ann_asks.hold(), label=1, key="k2").status_code == 409

    def test_a_form_shows_the_earlier_answer(self, ann_asks):
        lease = ann_asks.answered(label=1)
        page = ann_asks.get("work", change=lease).content.decode()
        assert "You answered: no." in page
        assert f'action="{ann_asks.url("change")}"' in page

    def test_a_form_shows_an_earlier_skip(self, ann_asks):
        lease = ann_asks.hold()
        ann_asks.post("submit", lease=lease, skip="unclear", key="k1")
        assert "You skipped it: I cannot decide it." in ann_asks.get("work", change=lease).content.decode()

    def test_a_form_does_not_show_what_is_not_mine(self, ann_asks, asking, project):
        theirs = asking(make_member(project, "Ben")).answered(key="k-ben")
        assert ann_asks.get("work", change=theirs).status_code == 404

    def test_a_form_goes_back_to_the_next(self, ann_asks):
        lease = ann_asks.answered()
        assert ann_asks.form("change", lease=lease, label=1, key="k2").status_code == 303
