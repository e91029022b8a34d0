"""GET /p/<slug>/label/"""

import pytest
from django.urls import reverse

from annotate import projects
from annotate.models import Lease, Prediction, PromptVersion
from annotate.models.project import Arm, SuggestionPolicy
from tests.factories import make_member, make_project, make_user, owner_of
from tests.web.labeling.rows import close, make_round

pytestmark = pytest.mark.portable
SECRETS = ("secret-id", "secret-metadata", "secret-reason", "0.875", "suggests", "audit", "is_blind")


def predict(project, label_index=2):
    schema = projects.current_schema(project)
    prompt = PromptVersion.objects.create(
        project=project, version=1, annotator="offline", model="m", schema=schema, sha256="1" * 64
    )
    for item in project.items.all():
        Prediction.objects.create(item=item, prompt=prompt, status="ok", label_index=label_index)


class TestWork:
    def test_it_takes_nothing(self, ann_asks):
        page = ann_asks.get("work")
        assert page.status_code == 200
        assert "Start" in page.content.decode()
        assert not Lease.objects.exists()

    def test_it_shows_what_i_hold(self, ann_asks):
        ann_asks.post("next")
        page = ann_asks.get("work").content.decode()
        assert '<div class="item-text" dir="auto">one</div>' in page
        assert page.count("<template data-ahead") == 2

    def test_it_is_not_kept_by_any_cache(self, ann_asks):
        assert "no-store" in ann_asks.get("work")["Cache-Control"]

    @pytest.mark.parametrize("role, status", [("viewer", 403), ("annotator", 200), ("reviewer", 200), ("admin", 200)])
    def test_it_opens_for_those_who_annotate(self, project, asking, role, status):
        assert asking(make_member(project, "Max", role=role)).get("work").status_code == status

    def test_it_does_not_exist_for_a_stranger(self, asking):
        assert asking(make_user("Sam")).get("work").status_code == 404

    def test_it_asks_a_visitor_to_sign_in(self, asking):
        assert asking(None).get("work").status_code == 302

    def test_it_shows_text_as_text(self, asking):
        project = make_project()
        make_round(project, ["<script>alert(1)</script>\n  two   spaces"])
        olga = asking(owner_of(project), project)
        olga.post("next")
        page = olga.get("work").content.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\n  two   spaces</div>" in page

    def test_it_shows_a_pair_under_headings(self, asking):
        project = make_project(modality="pair")
        make_round(project, [{"text_a": "left", "text_b": "right"}])
        olga = asking(owner_of(project), project)
        olga.post("next")
        page = olga.get("work").content.decode()
        assert page.count('class="item-heading"') == 2

    def test_it_shows_definitions_and_guidelines(self, ann_asks, project):
        projects.set_guidelines(project=project, markdown="Read **all** of it.", by=owner_of(project))
        page = ann_asks.get("work").content.decode()
        assert "Read <strong>all</strong> of it." in page
        assert "Guidelines, version 1" in page

    def test_it_says_why_nothing_is_there(self, ann_asks, project):
        ann_asks.form("next")
        project.rounds.first().queue.update(state="answered")
        Lease.objects.all().delete()
        page = ann_asks.client.get(f"{ann_asks.url('work')}?empty").content.decode()
        assert "This round is done" in page

    def test_without_a_round_nothing_is_left_in_it(self, ann_asks, project):
        assert "5 left in this round" in ann_asks.get("work").content.decode()
        close(project.rounds.get(), owner_of(project))
        assert "left in this round</span>" not in ann_asks.get("work").content.decode()

    def test_its_queries_do_not_grow(self, ann_asks, at_most):
        ann_asks.post("next")
        with at_most(12):
            ann_asks.get("work")


class TestBlindness:
    """Nothing of the machine, nor why an item was drawn, is in the bytes before the answer."""

    def test_the_page_holds_nothing(self, ann_asks, project):
        predict(project)
        ann_asks.post("next")
        page = ann_asks.get("work").content.decode().split('id="words"')[0]
        assert [word for word in SECRETS if word in page] == []

    def test_the_items_hold_nothing(self, ann_asks, project):
        predict(project)
        sent = ann_asks.post("next").content.decode()
        assert [word for word in (*SECRETS, "maybe") if word in sent] == []

    def test_blind_and_revealed_items_are_the_same_bytes(self, asking):
        sent = []
        for suggestion in (SuggestionPolicy.HIDDEN, SuggestionPolicy.REVEALED):
            project = make_project()
            make_round(project, ["same"], suggestion=suggestion, arm=Arm.ACTIVE)
            predict(project)
            item = asking(owner_of(project), project).post("next").json()["items"][0]
            sent.append(str(item).replace(item["lease"], ""))
        assert sent[0] == sent[1]

    def test_a_shown_suggestion_is_marked_and_not_chosen(self, asking):
        project = make_project()
        make_round(project, ["same"], suggestion=SuggestionPolicy.SHOWN, arm=Arm.ACTIVE)
        predict(project)
        olga = asking(owner_of(project), project)
        olga.post("next")
        page = olga.get("work").content.decode().split('id="labeling"')[1]
        assert "The machine suggests:" in page
        assert 'aria-pressed="true"' not in page

    def test_the_history_tells_no_arm(self, ann_asks):
        ann_asks.answered()
        sent = ann_asks.client.get(ann_asks.url("history"), headers={"Accept": "application/json"}).content.decode()
        assert [word for word in SECRETS if word in sent] == []


@pytest.mark.parametrize("page", ["next", "submit", "change", "renew", "release", "draft", "reveal", "why"])
class TestActions:
    def test_they_are_post_only(self, ann_asks, page):
        assert ann_asks.get(page).status_code == 405

    def test_they_are_closed_to_viewers(self, project, asking, page):
        assert asking(make_member(project, "Vera", role="viewer")).post(page).status_code == 403

    def test_they_do_not_exist_for_strangers(self, asking, page):
        assert asking(make_user("Sam")).post(page).status_code == 404

    def test_they_tell_a_script_to_sign_in(self, asking, page):
        assert asking(None).post(page).status_code == 401

    def test_they_refuse_a_page_of_somebody_else(self, ann_asks, page):
        answer = ann_asks.post(page, person="somebody-else")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (409, "other_person")


def test_every_action_has_a_route(project):
    assert reverse("labeling-work", args=[project.slug]).endswith("/label/")
