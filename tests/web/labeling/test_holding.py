"""POST renew, release, draft, reveal and why; GET history."""

import pytest

from annotate.models import Draft, Lease
from annotate.models.project import NEVER_DRAWN, Arm, SuggestionPolicy
from tests.factories import make_member, make_project, owner_of
from tests.web.labeling.conftest import active
from tests.web.labeling.rows import close, make_round
from tests.web.labeling.test_work import predict


class TestRenew:
    def test_it_says_what_i_still_hold(self, ann_asks, ann):
        held = ann_asks.post("next").json()["held"]
        Lease.objects.filter(public_id=held[2]).delete()
        answer = ann_asks.post("renew", lease=[*held, "nope"], shown=held[0]).json()
        assert answer["held"] == held[:2]
        assert answer["progress"]["n_in_round"] == 5
        assert Lease.objects.get(public_id=held[0]).shown_at is not None

    def test_it_does_not_renew_for_others(self, ann_asks, asking, project):
        theirs = asking(make_member(project, "Ben")).hold()
        assert ann_asks.post("renew", lease=[theirs]).json()["held"] == []


class TestRelease:
    def test_it_gives_back_what_is_named(self, ann_asks, ann):
        held = ann_asks.post("next").json()["held"]
        assert ann_asks.post("release", lease=held[1:]).json() == {"n_released": 2}
        assert active(ann).get().public_id == held[0]

    def test_it_leaves_others_alone(self, ann_asks, asking, project):
        theirs = asking(make_member(project, "Ben")).hold()
        assert ann_asks.post("release", lease=[theirs]).json() == {"n_released": 0}

    def test_a_form_leads_back(self, ann_asks):
        assert ann_asks.form("release").status_code == 303


class TestDraft:
    def test_it_is_kept_and_comes_back(self, ann_asks):
        lease = ann_asks.hold()
        for comment in ("half", "half a thought"):
            answer = ann_asks.post("draft", lease=lease, label=2, is_flagged="1", comment=comment)
            assert answer.status_code == 204
        draft = Draft.objects.get()
        assert (draft.label.index, draft.is_flagged, draft.comment) == (2, True, "half a thought")
        assert "half a thought" in ann_asks.get("work").content.decode()

    @pytest.mark.parametrize("fields, status", [({"label": 99}, 422), ({"comment": "x" * 5_001}, 422)])
    def test_what_cannot_be_used_is_refused(self, ann_asks, fields, status):
        assert ann_asks.post("draft", lease=ann_asks.hold(), **fields).status_code == status

    def test_others_questions_are_not_found(self, ann_asks, asking, project):
        theirs = asking(make_member(project, "Ben")).hold()
        assert ann_asks.post("draft", lease=theirs).status_code == 404

    def test_after_the_answer_it_is_too_late(self, ann_asks):
        assert ann_asks.post("draft", lease=ann_asks.answered(), comment="x").status_code == 409


class TestReveal:
    @pytest.fixture
    def olga_asks(self, asking):
        project = make_project()
        make_round(project, suggestion=SuggestionPolicy.REVEALED, arm=Arm.ACTIVE)
        predict(project)
        return asking(owner_of(project), project)

    def test_while_the_round_is_open_it_is_refused(self, olga_asks):
        for lease in (olga_asks.hold(), olga_asks.answered()):
            assert olga_asks.post("reveal", lease=lease).status_code == 403

    def test_once_it_is_closed_it_is_shown_and_stays_in_the_history(self, olga_asks):
        lease = olga_asks.answered()
        close(olga_asks.project.rounds.get(), olga_asks.user)
        assert "What the machine says" in olga_asks.get("history").content.decode()
        assert "The machine says" not in olga_asks.get("history").content.decode()
        assert "maybe" in olga_asks.post("reveal", lease=lease).json()["html"]
        assert "The machine says" in olga_asks.get("history").content.decode()

    def test_a_form_leads_to_the_history(self, olga_asks):
        lease = olga_asks.answered()
        close(olga_asks.project.rounds.get(), olga_asks.user)
        assert olga_asks.form("reveal", lease=lease).url == olga_asks.url("history")

    def test_a_blind_question_never_is(self, ann_asks, project):
        lease = ann_asks.answered()
        assert ann_asks.post("reveal", lease=lease).status_code == 403
        close(project.rounds.get(), owner_of(project))
        assert ann_asks.post("reveal", lease=lease).status_code == 403
        assert "What the machine says" not in ann_asks.get("history").content.decode()

    def test_others_questions_are_not_found(self, ann_asks, asking, project):
        theirs = asking(make_member(project, "Ben")).answered(key="k-ben")
        assert ann_asks.post("reveal", lease=theirs).status_code == 404


class TestWhy:
    def test_before_the_answer_it_is_refused(self, ann_asks):
        assert ann_asks.post("why", lease=ann_asks.hold()).status_code == 403

    @pytest.mark.parametrize(
        "arm, words", [(Arm.AUDIT, "measure"), (Arm.ACTIVE, "least sure"), (Arm.CONFLICT, "do not agree")]
    )
    def test_once_the_round_is_closed_it_is_told_in_words(self, asking, arm, words):
        project = make_project()
        make_round(project, arm=arm)
        olga = asking(owner_of(project), project)
        lease = olga.answered()
        assert olga.post("why", lease=lease).status_code == 403
        close(project.rounds.get(), owner_of(project))
        assert words in olga.post("why", lease=lease).json()["html"]
        assert words in olga.get("history").content.decode()

    def test_every_arm_has_its_words(self):
        from annotate.web import labeling_io

        assert set(labeling_io._REASONS) == set(Arm) - NEVER_DRAWN


class TestHistory:
    def test_it_holds_my_answers_newest_first(self, ann_asks):
        leases = [ann_asks.answered(label=n, key=f"k{n}") for n in range(3)]
        items = ann_asks.client.get(ann_asks.url("history"), headers={"Accept": "application/json"}).json()["items"]
        assert [item["lease"] for item in items] == leases[::-1]
        assert items[0]["answer"] == {"label": 2, "skip": None, "is_flagged": False, "comment": ""}

    def test_it_says_whether_a_round_is_open(self, ann_asks, project):
        def said():
            return ann_asks.client.get(ann_asks.url("history"), headers={"Accept": "application/json"}).json()

        assert said() == {"items": [], "is_open": True, "schema": 1}
        ann_asks.answered()
        close(project.rounds.get(), owner_of(project))
        assert said() == {"items": [], "is_open": False, "schema": 1}

    def test_as_a_page_it_links_to_each(self, ann_asks):
        lease = ann_asks.answered()
        assert f"?change={lease}" in ann_asks.get("history").content.decode()

    def test_it_shows_nobody_elses(self, ann_asks, asking, project):
        asking(make_member(project, "Ben")).answered(key="k-ben")
        assert "You have not answered anything" in ann_asks.get("history").content.decode()

    def test_its_queries_do_not_grow(self, ann_asks, at_most):
        for n in range(3):
            ann_asks.answered(key=f"k{n}")
        with at_most(11):
            ann_asks.get("history")
