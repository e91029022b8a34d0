"""POST /p/<slug>/label/next"""

import pytest

from annotate.labeling import answers, leases
from annotate.models import Lease
from tests.factories import make_member, make_project, owner_of
from tests.web.labeling.conftest import active
from tests.web.labeling.rows import make_round


class TestNext:
    def test_it_sends_three_ahead(self, ann_asks, project):
        sent = ann_asks.post("next").json()
        assert len(sent["items"]) == len(sent["held"]) == 3

    def test_it_does_not_send_what_the_page_has(self, ann_asks):
        held = ann_asks.post("next").json()["held"]
        again = ann_asks.post("next", have=held).json()
        assert again["items"] == []
        assert again["held"] == held
        assert again["progress"]["n_left"] == 5

    def test_it_counts_answers_on_their_way_as_done(self, ann_asks):
        held = ann_asks.post("next").json()["held"]
        again = ann_asks.post("next", have=held[1:], done=held[:1]).json()
        assert held[0] not in again["held"]

    def test_it_marks_what_is_on_the_screen(self, ann_asks):
        held = ann_asks.post("next").json()["held"]
        ann_asks.post("next", have=held, shown=held[0])
        assert list(Lease.objects.filter(shown_at__isnull=False).values_list("public_id", flat=True)) == held[:1]

    def test_it_brings_drafts_back(self, ann_asks, ann, project):
        lease = leases.find_lease(project=project, public_id=ann_asks.hold(), by=ann)
        answers.save_draft(lease=lease, by=ann, comment="half a thought")
        assert ann_asks.post("next").json()["items"][0]["draft"]["comment"] == "half a thought"

    def test_it_says_why_nothing_is_left(self, asking, project, ann_asks, ann):
        project.rounds.first().queue.filter(position__gt=1).update(state="answered")
        asking(make_member(project, "Ben")).hold()
        said = ann_asks.post("next").json()
        assert 'data-kind="held_by_others"' in said["empty"]
        assert said["progress"]["n_in_round"] == 5

    def test_a_manager_is_led_to_the_overview(self, asking, project):
        project.rounds.first().queue.update(state="answered")
        olga = asking(make_member(project, "Oli", role="admin"))
        assert "Close the round" in olga.post("next").json()["empty"]

    def test_an_annotator_is_not(self, project, ann_asks):
        project.rounds.first().queue.update(state="answered")
        assert "Close the round" not in ann_asks.post("next").json()["empty"]

    def test_forged_and_countless_ids_do_no_harm(self, ann_asks):
        ids = ["x" * 5_000, "\x00", "nope"] + [str(n) for n in range(300)]
        assert ann_asks.post("next", have=ids, done=ids, shown="nope").status_code == 200

    def test_a_form_leads_to_the_page(self, ann_asks, ann):
        answer = ann_asks.form("next")
        assert (answer.status_code, answer["Location"]) == (303, ann_asks.url("work"))
        assert active(ann).get().shown_at is not None

    def test_it_asks_eight_times(self, asking, at_most):
        project = make_project()
        make_round(project, [f"item {n}" for n in range(20)])
        ann_asks = asking(owner_of(project), project)
        held = ann_asks.post("next").json()["held"]
        ann_asks.post("submit", lease=held[0], label=0, key="k1")
        with at_most(8):
            sent = ann_asks.post("next", have=held[1:], shown=held[1]).json()
        assert len(sent["items"]) == 1

    def test_the_first_time_it_asks_eight_times_too(self, ann_asks, at_most):
        with at_most(8):
            ann_asks.post("next")


@pytest.mark.parametrize("repeat", [1, 2])
def test_repeating_it_takes_no_more(ann_asks, ann, repeat):
    for _ in range(repeat):
        ann_asks.post("next")
    assert active(ann).count() == 3
