"""Pages of rows, keys against doubles, and limits."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from annotate.api.http import throttling
from annotate.models import GuidelineVersion, IdempotentRequest, Invitation, Run
from annotate.models.base import database_now
from tests.api.conftest import Program
from tests.api.http.test_endpoint import is_problem
from tests.factories import make_project, owner_of
from tests.rows import make_items, make_run


@pytest.mark.django_db
class TestPages:
    def all_of(self, program: Program, path: str) -> list[str]:
        found, url = [], program.url(path)
        while url:
            body = program.get(url.removeprefix("http://testserver")).json()
            found += [one["id"] for one in body["results"]]
            url = body["next"]
        return found

    def test_they_hold_everything_once_in_order(self, olga, project):
        make_items(project, 20)
        expected = list(project.items.order_by("pk").values_list("public_id", flat=True))
        assert self.all_of(olga, "items?limit=7") == expected

    def test_rows_that_come_in_between_move_nothing(self, olga, project):
        for _ in range(6):
            make_run(project)
        first = olga.get("runs?limit=3").json()
        make_run(project)
        second = olga.get(first["next"].removeprefix("http://testserver")).json()
        ids = [one["id"] for one in first["results"] + second["results"]]
        assert len(set(ids)) == 6
        assert second["next"] is None

    def test_filters_stay_in_the_next_address(self, olga, project):
        for kind in ("train", "draw", "train", "train"):
            make_run(project, kind)
        assert len(self.all_of(olga, "runs?limit=1&kind=train")) == 3

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "after=x", "after=AAAA", "after=" + "A" * 64])
    def test_what_is_no_page_is_refused(self, olga, query):
        assert is_problem(olga.get(f"runs?{query}"), 422)

    def test_a_place_is_good_for_its_own_list_only(self, olga, project):
        make_items(project, 5)
        after = olga.get("items?limit=1").json()["next"].split("after=")[1]
        assert is_problem(olga.get(f"runs?after={after}"), 422)

    @pytest.mark.parametrize("path", ["items", "runs", "schemas", "guidelines", "rounds", "members", "disputes"])
    def test_queries_do_not_grow_with_rows(self, olga, project, path):
        def n_queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert olga.get(path).status_code == 200
            return len(captured)

        n_queries()
        before = n_queries()
        make_items(project, 30)
        for _ in range(10):
            make_run(project)
        assert n_queries() <= before


@pytest.mark.django_db
class TestIdempotency:
    def test_the_same_is_done_once_and_answered_twice(self, olga):
        body = {"markdown": "New."}
        first = olga.post("guidelines", body, Idempotency_Key="a")
        again = olga.post("guidelines", body, Idempotency_Key="a")
        assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, first.json())
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"

    def test_another_body_with_it_is_refused(self, olga):
        olga.post("guidelines", {"markdown": "New."}, Idempotency_Key="a")
        response = olga.post("guidelines", {"markdown": "Newer."}, Idempotency_Key="a")
        assert is_problem(response, 422)
        assert response.json()["type"].endswith("key_reused")
        assert GuidelineVersion.objects.count() == 1

    def test_what_failed_may_be_asked_again(self, olga):
        assert is_problem(olga.post("guidelines", {"markdown": " "}, Idempotency_Key="a"), 422)
        assert olga.post("guidelines", {"markdown": "New."}, Idempotency_Key="a").status_code == 201

    def test_while_it_is_being_done_it_says_so(self, olga):
        olga.post("guidelines", {"markdown": "New."}, Idempotency_Key="a")
        IdempotentRequest.objects.update(status=None)
        response = olga.post("guidelines", {"markdown": "New."}, Idempotency_Key="a")
        assert is_problem(response, 409)
        assert response.headers["Retry-After"] == "1"

    def test_what_was_cut_off_is_taken_up_again(self, olga):
        olga.post("guidelines", {"markdown": "New."}, Idempotency_Key="a")
        long_ago = database_now() - timedelta(minutes=2)
        IdempotentRequest.objects.update(status=None, created_at=long_ago)
        assert olga.post("guidelines", {"markdown": "New."}, Idempotency_Key="a").status_code == 201

    def test_it_is_forgotten_after_a_day(self, olga):
        olga.post("guidelines", {"markdown": "New."}, Idempotency_Key="a")
        IdempotentRequest.objects.update(created_at=database_now() - timedelta(hours=25))
        response = olga.post("guidelines", {"markdown": "Newer."}, Idempotency_Key="a")
        assert response.status_code == 201
        assert IdempotentRequest.objects.count() == 1

    def test_secrets_are_not_kept(self, olga):
        first = olga.post("invitations", {"role": "viewer"}, Idempotency_Key="a").json()
        again = olga.post("invitations", {"role": "viewer"}, Idempotency_Key="a").json()
        assert first["link"].split("/")[-1] not in IdempotentRequest.objects.get().body
        assert again == {**first, "link": None}
        assert Invitation.objects.count() == 1

    @pytest.mark.parametrize("key", ["", "x" * 101, "\u00e4"])
    def test_a_key_is_short_and_printable(self, olga, key):
        assert is_problem(olga.post("guidelines", {"markdown": "New."}, Idempotency_Key=key), 422)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
def test_of_two_at_the_same_moment_one_is_done():
    project = make_project()
    programs = [Program(owner_of(project), project=project) for _ in range(2)]
    started, answers = threading.Barrier(2), []

    def ask(program: Program) -> None:
        started.wait()
        answers.append(program.post("invitations", {"role": "viewer"}, Idempotency_Key="a"))
        connections.close_all()

    threads = [threading.Thread(target=ask, args=(program,)) for program in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Invitation.objects.count() == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert 201 in {answer.status_code for answer in answers}


@pytest.mark.django_db
class TestLimits:
    def test_a_burst_is_let_through_and_what_is_more_waits(self, olga, settings):
        settings.API_THROTTLES = {**settings.API_THROTTLES, "request": (0.1, 3)}
        assert [olga.get("").status_code for _ in range(4)] == [200, 200, 200, 429]
        response = olga.get("")
        assert is_problem(response, 429)
        assert 1 <= int(response.headers["Retry-After"]) <= 11

    def test_each_token_has_its_own(self, olga, project, settings):
        settings.API_THROTTLES = {**settings.API_THROTTLES, "request": (0.1, 1)}
        other = Program(olga.user, project=project)
        assert [olga.get("").status_code, olga.get("").status_code, other.get("").status_code] == [200, 429, 200]

    def test_whoever_guesses_names_of_projects_is_counted(self, olga, settings):
        settings.API_THROTTLES = {**settings.API_THROTTLES, "request": (0.1, 2)}
        assert [olga.get(f"/api/v1/projects/guess-{n}").status_code for n in range(3)] == [404, 404, 429]

    def test_answers_are_counted_apart(self, ann, settings):
        settings.API_THROTTLES = {**settings.API_THROTTLES, "submit": (0.1, 1)}
        body = {"lease": "0" * 20, "label": 0}
        assert [ann.post("label/submit", body).status_code for _ in range(2)] == [409, 429]
        assert ann.get("label").status_code == 200

    def test_without_the_counter_people_go_on_and_spending_waits(self, ann, olga, settings, tmp_path, caplog):
        (tmp_path / "file").write_text("")
        settings.API_THROTTLES = {"request": (50, 100), "submit": (20, 60)}
        settings.API_RATES_FILE = tmp_path / "file" / "rates"
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE annotate_requestrate RENAME TO annotate_gone")
        throttling._said["at"] = -throttling._QUIET_SECONDS
        assert [ann.get("label").status_code, ann.post("label/next").status_code] == [200, 200]
        assert [one.name for one in caplog.records] == [throttling.__name__]
        response = olga.post("runs", {"kind": "prelabel"})
        assert is_problem(response, 503)
        assert response.headers["Retry-After"]
        assert not Run.objects.exists()

    def test_exports_are_counted_by_the_hour(self, olga, project, settings):
        settings.API_HOURLY = {"export": 1, "import": 1}
        assert olga.post("exports").status_code == 201
        Run.objects.update(state="succeeded", finished_at=database_now())
        response = olga.post("exports")
        assert is_problem(response, 429)
        assert int(response.headers["Retry-After"]) > 3_000

    @pytest.mark.parametrize("kind", ["import", "export"])
    def test_what_is_tried_again_is_counted_too(self, olga, project, settings, kind):
        settings.API_HOURLY = {"export": 1, "import": 1}
        run = make_run(project, kind=kind, state="failed", started_by=olga.user, finished_at=database_now())
        assert is_problem(olga.post(f"runs/{run.public_id}/retry"), 429)
        assert Run.objects.count() == 1
