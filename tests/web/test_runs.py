"""Runs: started once however often somebody clicks, watched until they end."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate.models import Run
from annotate.models.project import Role
from annotate.web import run_status
from tests.factories import make_member, make_project, make_user, owner_of
from tests.rows import make_items, make_round, make_run

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


def start(client, project, headers=None, **data):
    return client.post(reverse("runs-start", args=[project.slug]), data, **(headers or {}))


def show(client, project, run, query="", **headers):
    return client.get(reverse("runs-show", args=[project.slug, run.public_id]) + query, **headers)


class TestStart:
    def test_it_makes_a_run_that_waits_and_goes_back(self, signed_in):
        project = make_project()
        response = start(signed_in(owner_of(project)), project, kind="train", back="overview")
        assert (response.status_code, response["Location"]) == (303, reverse("overview-show", args=[project.slug]))
        assert Run.objects.get().state == "queued"

    def test_htmx_is_told_where_to_go(self, signed_in):
        project = make_project()
        response = start(signed_in(owner_of(project)), project, HTMX, kind="train")
        assert (response.status_code, response["HX-Redirect"]) == (204, reverse("runs-list", args=[project.slug]))

    def test_a_second_click_is_the_same_run(self, signed_in):
        project = make_project()
        client = signed_in(owner_of(project))
        for _ in range(2):
            start(client, project, kind="train")
        assert Run.objects.count() == 1

    def test_a_second_click_after_the_first_has_ended_is_too(self, signed_in):
        project = make_project()
        client = signed_in(owner_of(project))
        start(client, project, kind="estimate", seen="")
        now = timezone.now()
        Run.objects.update(state="succeeded", started_at=now, finished_at=now)
        start(client, project, kind="estimate", seen="")
        assert Run.objects.count() == 1
        start(client, project, kind="estimate", seen=Run.objects.get().public_id)
        assert Run.objects.count() == 2

    @pytest.mark.parametrize("kind", ["", "import", "nonsense", "../x"])
    def test_an_unknown_kind_is_a_sentence(self, signed_in, kind):
        project = make_project()
        response = start(signed_in(owner_of(project)), project, kind=kind)
        assert response.status_code == 422
        assert "no such kind" in response.content.decode()
        assert not Run.objects.exists()

    @pytest.mark.parametrize("batch", ["", "0", "-1", "1e3", "²", "100001", "9" * 5000, "10; DROP"])
    def test_a_round_needs_a_sensible_number(self, signed_in, batch):
        project = make_project()
        assert start(signed_in(owner_of(project)), project, kind="draw", batch=batch).status_code == 422
        assert not Run.objects.exists()

    def test_a_round_is_drawn_with_its_number(self, signed_in):
        project = make_project()
        start(signed_in(owner_of(project)), project, kind="draw", batch=" 25 ")
        assert Run.objects.get().parameters == {"batch": 25}

    def test_a_round_may_be_asked_for(self, signed_in):
        project = make_project()
        start(signed_in(owner_of(project)), project, kind="draw", batch="20", request="1", schema="1")
        assert Run.objects.get().parameters == {"batch": 20, "request": 1, "schema": 1}

    @pytest.mark.parametrize(
        "asked", [{"request": "x", "schema": "1"}, {"request": "1"}, {"request": "9", "schema": "1"}]
    )
    def test_what_is_asked_for_is_a_label(self, signed_in, asked):
        project = make_project()
        assert start(signed_in(owner_of(project)), project, kind="draw", batch="20", **asked).status_code == 422
        assert not Run.objects.exists()

    def test_other_parameters_while_one_is_alive_are_refused(self, signed_in):
        project = make_project()
        client = signed_in(owner_of(project))
        start(client, project, kind="draw", batch="25")
        assert start(client, project, kind="draw", batch="30").status_code == 409

    def test_open_questions_are_closed_over_only_when_confirmed(self, signed_in):
        project = make_project()
        make_round(project, make_items(project), answered=1)
        client = signed_in(owner_of(project))
        response = start(client, project, kind="close")
        assert response.status_code == 422
        assert "3 questions are not answered yet" in response.content.decode()
        start(client, project, kind="close", force="yes")
        assert Run.objects.get().parameters == {"force": True}

    def test_a_finished_round_needs_no_confirmation(self, signed_in):
        project = make_project()
        make_round(project, make_items(project), answered=4)
        start(signed_in(owner_of(project)), project, kind="close")
        assert Run.objects.get().parameters == {"force": False}

    @pytest.mark.parametrize("formats", [[], ["exe"], ["csv", "exe"]])
    def test_unknown_formats_are_refused(self, signed_in, formats):
        project = make_project()
        assert start(signed_in(owner_of(project)), project, kind="export", formats=formats).status_code == 422

    def test_formats_are_kept(self, signed_in):
        project = make_project()
        start(signed_in(owner_of(project)), project, kind="export", formats=["csv"])
        assert Run.objects.get().parameters == {"formats": ["csv"]}

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER])
    def test_others_may_not(self, signed_in, role):
        project = make_project()
        assert start(signed_in(make_member(project, role=role)), project, kind="train").status_code == 403
        assert not Run.objects.exists()

    def test_a_stranger_does_not_find_it(self, signed_in):
        assert start(signed_in(make_user()), make_project(), kind="train").status_code == 404

    def test_get_starts_nothing(self, signed_in):
        project = make_project()
        assert signed_in(owner_of(project)).get(reverse("runs-start", args=[project.slug])).status_code == 405

    def test_it_never_leads_elsewhere(self, signed_in):
        project = make_project()
        response = start(signed_in(owner_of(project)), project, kind="train", back="https://example.org/")
        assert response["Location"] == reverse("runs-list", args=[project.slug])


class TestShow:
    def test_while_alive_the_fragment_asks_again(self, signed_in):
        project = make_project()
        run = make_run(project, state="running", n_done=1234, n_total=5000, step="Training")
        response = show(signed_in(owner_of(project)), project, run, **HTMX)
        body = response.content.decode()
        assert 'hx-trigger="every 1s"' in body
        assert 'value="1234" max="5000"' in body
        assert "1,234 of 5,000" in body
        assert "HX-Trigger" not in response.headers

    @pytest.mark.parametrize("state", ["succeeded", "failed", "errored"])
    def test_at_the_end_it_stops_and_tells_the_page(self, signed_in, state):
        project = make_project()
        response = show(signed_in(owner_of(project)), project, make_run(project, state=state), **HTMX)
        assert "hx-trigger" not in response.content.decode()
        assert response["HX-Trigger"] == "run-finished"

    def test_it_is_a_page_too(self, signed_in):
        project = make_project()
        body = show(signed_in(owner_of(project)), project, make_run(project)).content.decode()
        assert "<h1" in body
        assert "Training" in body

    def test_its_own_page_names_it_once_while_it_is_watched(self, signed_in):
        project = make_project()
        run = make_run(project, state="running")
        client = signed_in(owner_of(project))
        page = show(client, project, run).content.decode()
        assert "<h2" not in page
        assert "&amp;alone" in page
        assert "<h2" not in show(client, project, run, "?step=&done=0&at=1&alone", **HTMX).content.decode()
        assert "<h2" in show(client, project, run, "?step=&done=0&at=1", **HTMX).content.decode()

    def test_a_crash_shows_no_trace(self, signed_in):
        project = make_project()
        run = make_run(project, state="errored", message="KeyError('secret')", trace="Traceback: /srv/x.py")
        body = show(signed_in(owner_of(project)), project, run).content.decode()
        assert "secret" not in body
        assert "Traceback" not in body
        assert "The program broke here." in body

    def test_a_lost_worker_says_so(self, signed_in):
        project = make_project()
        run = make_run(project, state="errored", message="The worker was lost 3 times.")
        assert "The worker was lost 3 times." in show(signed_in(owner_of(project)), project, run).content.decode()

    def test_time_left_follows_from_what_this_page_saw(self, signed_in):
        project = make_project()
        run = make_run(project, state="running", n_done=60, n_total=100, step="Training")
        at = timezone.now().timestamp() - 1_000  # 40 of 40 that are left took a thousand seconds
        client = signed_in(owner_of(project))
        body = show(client, project, run, f"?step=Training&done=20&at={at}", **HTMX).content.decode()
        assert re.search(r"about 1[67] min \d+ s left", body)
        assert "left" not in show(client, project, run, f"?step=Other&done=20&at={at}", **HTMX).content.decode()

    @pytest.mark.parametrize("query", ["?done=x", "?at=nan", "?step=Training&at=-inf&done=1", "?done=" + "9" * 5000])
    def test_a_forged_query_breaks_nothing(self, signed_in, query):
        project = make_project()
        run = make_run(project, state="running", n_done=60, n_total=100, step="Training")
        assert show(signed_in(owner_of(project)), project, run, query, **HTMX).status_code == 200

    def test_another_projects_run_is_not_there(self, signed_in):
        mine, other = make_project(), make_project()
        assert show(signed_in(owner_of(mine)), mine, make_run(other)).status_code == 404

    @pytest.mark.parametrize(("role", "status"), [(Role.REVIEWER, 200), (Role.VIEWER, 200), (Role.ANNOTATOR, 403)])
    def test_who_may_see_it(self, signed_in, role, status):
        project = make_project()
        assert show(signed_in(make_member(project, role=role)), project, make_run(project)).status_code == status

    def test_post_is_refused(self, signed_in):
        project = make_project()
        url = reverse("runs-show", args=[project.slug, make_run(project).public_id])
        assert signed_in(owner_of(project)).post(url).status_code == 405


class TestWaiting:
    def test_first_it_waits_for_the_worker(self):
        assert not run_status.status(make_run(make_project(), state="queued")).has_no_worker

    def test_then_it_says_that_there_is_none(self, signed_in):
        project = make_project()
        run = make_run(project, state="queued")
        Run.objects.update(created_at=timezone.now() - timedelta(seconds=20))
        body = show(signed_in(owner_of(project)), project, run, **HTMX).content.decode()
        assert "No worker seems to be running" in body
        assert "manage.py worker" in body

    def test_a_worker_that_is_busy_elsewhere_is_one(self):
        run = make_run(make_project(), state="queued")
        Run.objects.update(created_at=timezone.now() - timedelta(seconds=20))
        make_run(make_project(), state="running")
        run.refresh_from_db()
        assert not run_status.status(run).has_no_worker

    def test_a_worker_that_is_gone_is_none(self):
        run = make_run(make_project(), state="queued")
        gone = make_run(make_project(), state="running")
        past = timezone.now() - timedelta(seconds=20)
        Run.objects.filter(pk=run.pk).update(created_at=past)
        Run.objects.filter(pk=gone.pk).update(lease_until=past)
        run.refresh_from_db()
        assert run_status.status(run).has_no_worker

    def test_it_says_for_what_it_waits_and_names_no_other_project(self):
        mine, other = make_project(), make_project()
        make_run(other, kind="import", state="running")
        first, run = make_run(mine, kind="count", state="queued"), make_run(mine, kind="close", state="queued")
        said = run_status.status(run).sentence
        assert "a worker for files and rounds" in said and "for another project" in said and other.name not in said
        assert "1 other run waits before it." in said
        assert "waits before it" not in run_status.status(first).sentence

    def test_its_own_project_is_named(self):
        project = make_project()
        make_run(project, kind="import", state="running")
        assert "another project" not in run_status.status(make_run(project, kind="close", state="queued")).sentence


class TestStoppingNow:
    """A run that asks a server waits for its calls in flight, unless somebody cannot wait."""

    def finishing(self, action="pause"):
        run = make_run(make_project(), kind="prelabel", state="running")
        Run.objects.filter(pk=run.pk).update(requested_action=action, result={"finishing": 2})
        run.refresh_from_db()
        return run

    @pytest.mark.parametrize("action", ["pause", "cancel"])
    def test_the_page_counts_the_calls_and_offers_it(self, signed_in, action):
        run = self.finishing(action)
        client = signed_in(owner_of(run.project))
        body = show(client, run.project, run).content.decode()
        assert "2 calls are in flight" in body and "Stop now" in body
        client.post(reverse(f"runs-{action}", args=[run.project.slug, run.public_id]), {"now": "yes"})
        run.refresh_from_db()
        assert run.requested_action == f"{action}_now"
        assert "Stop now" not in show(client, run.project, run).content.decode()

    def test_a_second_click_on_pause_is_not_meant_so(self, signed_in):
        run = self.finishing()
        signed_in(owner_of(run.project)).post(reverse("runs-pause", args=[run.project.slug, run.public_id]))
        run.refresh_from_db()
        assert run.requested_action == "pause"

    def test_cancelling_once_more_takes_nothing_back(self, signed_in):
        run = self.finishing("cancel_now")
        signed_in(owner_of(run.project)).post(reverse("runs-cancel", args=[run.project.slug, run.public_id]))
        run.refresh_from_db()
        assert run.requested_action == "cancel_now"


class TestSentences:
    @pytest.mark.parametrize(
        ("kind", "result", "words"),
        [
            ("prelabel", {"n_items": 1500, "n_failed": 3}, "1,500 items have a machine's answer; for 3"),
            ("draw", {"round": 2, "n_questions": 1}, "Round 2 has 1 question."),
            ("close", {"round": 2, "n_gold": 9, "n_unresolved": 1}, "9 gold labels; 1 question stays unresolved"),
            ("close", {"round": 2, "n_gold": 1, "n_unresolved": 0}, "1 gold label; 0 questions stay unresolved"),
            ("prelabel", {"n_items": 1, "n_failed": 0}, "1 item has a machine's answer"),
            ("train", {"model": 3, "is_champion": True, "n_gold": 1}, "from 1 gold label, is in use"),
            (
                "estimate",
                {"delivered": {"value": 1.0, "low": 0.2, "high": 1.0, "n": 1, "reason": None}},
                "from 1 audited item.",
            ),
            ("train", {"model": 3, "is_champion": False, "n_gold": 9}, "was not better than the one in use"),
            (
                "estimate",
                {"delivered": {"value": 0.93149, "low": 0.91, "high": 0.95, "n": 62, "reason": None}},
                "93.1 % agree with the gold rule (91.0–95.0 %), from 62 audited items",
            ),
            ("estimate", {"delivered": {"value": None, "reason": "nothing is audited"}}, "nothing is audited"),
            ("export", {"version": 4, "files": [{}, {}]}, "Version 4 as 2 files."),
            ("train", {}, ""),
            ("export", {"unexpected": 1}, ""),
        ],
    )
    def test_what_came_of_it(self, kind, result, words):
        assert words in run_status.status(make_run(make_project(), kind=kind, result=result)).sentence


class TestList:
    def test_it_lists_them_with_their_sentence(self, signed_in):
        project = make_project()
        make_run(project, state="failed", message="No items.", started_by=owner_of(project))
        body = signed_in(owner_of(project)).get(reverse("runs-list", args=[project.slug])).content.decode()
        assert "No items." in body
        assert "not possible" in body

    def test_empty_it_says_what_will_be_here(self, signed_in):
        project = make_project()
        body = signed_in(owner_of(project)).get(reverse("runs-list", args=[project.slug])).content.decode()
        assert "Nothing was run yet." in body

    def test_it_shows_no_run_of_another_project(self, signed_in):
        project = make_project()
        run = make_run(make_project())
        assert (
            run.public_id
            not in signed_in(owner_of(project)).get(reverse("runs-list", args=[project.slug])).content.decode()
        )

    @pytest.mark.parametrize("asked", ["2", "0", "-1", "x", "999"])
    def test_any_page_number_answers(self, signed_in, asked):
        project = make_project()
        for _ in range(51):
            make_run(project)
        url = reverse("runs-list", args=[project.slug])
        assert signed_in(owner_of(project)).get(url, {"page": asked}).status_code == 200

    def test_its_queries_are_bounded(self, signed_in, django_assert_max_num_queries):
        project = make_project()
        for _ in range(30):
            make_run(project, started_by=owner_of(project))
        client = signed_in(owner_of(project))
        with django_assert_max_num_queries(6):
            client.get(reverse("runs-list", args=[project.slug]))

    def test_annotators_have_no_business_here(self, signed_in):
        project = make_project()
        url = reverse("runs-list", args=[project.slug])
        assert signed_in(make_member(project)).get(url).status_code == 403


def tell(client, project, run, verb):
    return client.post(reverse(f"runs-{verb}", args=[project.slug, run.public_id]))


class TestControls:
    """What people tell a run; what that does to it is shown in tests/annotate/runs/test_run_controls.py."""

    def test_a_run_is_paused_resumed_cancelled_and_tried_again(self, signed_in):
        project = make_project()
        client, run = signed_in(owner_of(project)), make_run(project, kind="train", state="queued")
        for verb, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
            assert tell(client, project, run, verb)["Location"] == reverse(
                "runs-show", args=[project.slug, run.public_id]
            )
            run.refresh_from_db()
            assert run.state == state
        tell(client, project, run, "retry")
        assert Run.objects.get(retry_of=run).state == "queued"

    def test_the_page_offers_what_can_be_done_and_no_more(self, signed_in):
        project = make_project()
        client = signed_in(owner_of(project))
        offered = {
            "queued": {"pause", "cancel"},
            "running": {"pause", "cancel"},
            "paused": {"resume", "cancel"},
            "failed": {"retry"},
            "cancelled": {"retry"},
            "succeeded": set(),
        }
        for state, verbs in offered.items():
            run = make_run(project, kind="train", state=state)
            page = show(client, project, run).content.decode()
            assert {verb for verb in ("pause", "resume", "cancel", "retry") if f'/{verb}"' in page} == verbs, state
            run.delete()

    def test_nobody_else_is_offered_anything(self, signed_in):
        project = make_project()
        run = make_run(project, kind="train", state="queued")
        viewer = signed_in(make_member(project, role=Role.VIEWER))
        assert '/pause"' not in show(viewer, project, run).content.decode()

    def test_what_was_asked_of_a_run_at_work_is_said_until_it_obeys(self, signed_in):
        project = make_project()
        client, run = signed_in(owner_of(project)), make_run(project, kind="train", state="running")
        tell(client, project, run, "pause")
        assert "stops in a moment" in show(client, project, run).content.decode()

    def test_the_log_is_shown(self, signed_in):
        project = make_project()
        client, run = signed_in(owner_of(project)), make_run(project, kind="train", state="queued")
        tell(client, project, run, "pause")
        assert f"Paused by {owner_of(project)}." in show(client, project, run).content.decode()
