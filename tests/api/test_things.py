"""What the endpoints do with files, settings, items, people and connections: the same as the pages."""

import pytest

from annotate import tasks
from annotate.models import Connection, Import, Item, Run
from annotate.models.event import record
from annotate.models.project import Role
from annotate.runs import lifecycle
from annotate.seals import sealing
from tests.api.http.test_endpoint import is_problem
from tests.factories import make_member, make_user
from tests.refusing import refusing_uploads
from tests.rows import make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(project):
    """Its items were put there without an import, which would have counted them."""
    project.next_ordinal = project.items.count()
    project.save()
    return project


def send(program, content: bytes, name: str = "items.csv"):
    return program.post(f"uploads?file_name={name}", content, content_type="text/csv")


class TestFiles:
    def test_a_file_becomes_items(self, olga, project):
        sent = send(olga, b"id,text\na,First\nb,Second\n,\n").json()
        seen = olga.post(f"uploads/{sent['id']}/preview").json()
        assert (seen["n_new"], seen["n_rejected"], seen["problem"]) == (2, 1, "")
        assert seen["dialect"]["format"] == "csv"
        started = olga.post("imports", {"upload": sent["id"]}, Idempotency_Key="a")
        assert started.status_code == 201
        run = Run.objects.get(public_id=started.json()["id"])
        claimed = lifecycle.claim_next()
        assert claimed == run
        with lifecycle.taken_up(public_id=run.public_id, attempt=claimed.attempt) as attempt:
            tasks.perform(attempt)
        [done] = [one for one in olga.get("imports").json()["results"] if one["n_items"]]
        assert (done["n_items"], done["n_rejected"]) == (2, 1)
        quarantined = b"".join(olga.get(f"imports/{done['id']}/quarantine")).decode()
        assert quarantined.startswith("line,external_id,kind,reason,excerpt")
        assert Item.objects.filter(project=project, external_id="a").exists()

    @pytest.mark.parametrize("known", [{"encoding": "cp1252"}, {"delimiter": ";"}, {"header_line": 1}, {}])
    def test_an_import_reads_the_file_as_its_preview_did(self, olga, known):
        """Whatever part of the dialect a program names, the rest is detected."""
        sent = send(olga, "id;text\na;Café\nb;Second\n".encode("cp1252")).json()
        choices = {"dialect": known, "columns": {"text": "text", "id": "id"}}
        seen = olga.post(f"uploads/{sent['id']}/preview", choices).json()
        olga.post("imports", {"upload": sent["id"], **choices})
        run = lifecycle.claim_next()
        with lifecycle.taken_up(public_id=run.public_id, attempt=run.attempt) as attempt:
            tasks.perform(attempt)
        assert run.parameters["dialect"] == seen["dialect"]
        assert (attempt.result["n_items"], attempt.result["n_rejected"]) == (seen["n_new"], 0) == (2, 0)

    def test_half_an_import_is_given_up(self, olga, project):
        """What is left where a run failed half-way: the next import would have to wait for it."""
        half = Import.objects.create(project=project, file_name="a.csv", file_sha256="0" * 64)
        started = olga.post(f"imports/{half.public_id}/abandon", {}, Idempotency_Key="a")
        assert started.status_code == 201
        claimed = lifecycle.claim_next()
        with lifecycle.taken_up(public_id=started.json()["id"], attempt=claimed.attempt) as attempt:
            tasks.perform(attempt)
        assert is_problem(olga.get(f"imports/{half.public_id}"), 404)
        whole = project.imports.get()
        assert is_problem(olga.post(f"imports/{whole.public_id}/abandon", {}), 409)

    def test_a_file_may_be_larger_than_a_body(self, olga, settings):
        content = b"text\n" + b"x" * 50 + b"\n" + b"a line that says something\n" * 50_000
        response = send(olga, content)
        assert response.status_code == 201
        assert response.json()["n_bytes"] == len(content)

    def test_one_over_the_limit_is_refused(self, olga, settings):
        settings.UPLOAD_MAX_BYTES = 10
        assert is_problem(send(olga, b"x" * 11), 413)

    def test_beyond_the_quota_of_the_day_none_is_taken(self, olga, settings):
        settings.UPLOAD_DAILY_BYTES = 20
        assert send(olga, b"text\nx\n").status_code == 201
        response = send(olga, b"text\n" + b"x" * 10)
        assert is_problem(response, 429) and int(response.headers["Retry-After"]) > 0
        body = olga.get("uploads/quota").json()
        assert (body["n_files"], body["n_bytes"], body["most_bytes"]) == (1, 7, 20)

    def test_an_empty_one_is_refused(self, olga):
        assert is_problem(send(olga, b""), 422)

    def test_of_a_file_for_which_there_is_no_room_nothing_is_kept(self, olga):
        olga.get("uploads")  # that the token is used has been noted
        with refusing_uploads():
            response = send(olga, b"text\n" + b"some text\n" * 300_000)
        assert is_problem(response, 503)
        assert response.json()["type"] == "urn:goldloop:problem:full"
        assert olga.get("uploads").json()["results"] == []

    def test_it_is_thrown_away(self, olga):
        sent = send(olga, b"text\nx\n").json()
        assert olga.delete(f"uploads/{sent['id']}").status_code == 204
        assert is_problem(olga.get(f"uploads/{sent['id']}"), 404)

    def test_its_name_is_only_a_name(self, olga):
        assert send(olga, b"text\nx\n", "..%2F..%2Fetc%2Fpasswd").json()["file_name"] == "passwd"


class TestSeals:
    def test_the_head_comes_first(self, olga, project):
        assert olga.get("seals").json()["results"] == []
        first = sealing.seal(project)
        make_member(project, "Zoe")
        head = sealing.seal(project)
        found = olga.get("seals").json()["results"]
        assert [one["hash"] for one in found] == [head.hash, first.hash]
        assert {key: found[0][key] for key in ("sequence", "previous", "n_rows", "is_vouched")} == {
            "sequence": 2,
            "previous": first.hash,
            "n_rows": 2,
            "is_vouched": True,
        }


class TestSettings:
    def test_only_what_is_named_changes(self, olga, project):
        body = olga.ask("PATCH", "", {"target_accuracy": 0.9, "time_zone": "Europe/Rome"}).json()
        assert (body["settings"]["target_accuracy"], body["time_zone"]) == (0.9, "Europe/Rome")
        assert body["settings"]["overlap"] == project.overlap

    @pytest.mark.parametrize("body", [{"slug": "x"}, {"key": "x"}, {"seed": 1}, {"time_zone": "Mars"}, {"overlap": 0}])
    def test_what_is_fixed_or_wrong_is_refused(self, olga, body):
        assert is_problem(olga.ask("PATCH", "", body), 422)

    def test_a_project_is_made_by_who_manages_one(self, olga, ann, asking):
        body = {"name": "New", "labels": [{"name": "a"}, {"name": "b"}]}
        made = olga.post("/api/v1/projects", body)
        assert (made.status_code, made.json()["role"]) == (201, "owner")
        assert is_problem(asking(ann.user).post("/api/v1/projects", {**body, "name": "Newer"}), 403)
        assert is_problem(olga.post("/api/v1/projects", body), 409)


class TestItems:
    def test_one_is_corrected_withdrawn_and_brought_back(self, olga, project):
        first = olga.get("items?limit=1").json()["results"][0]
        made = olga.post(f"items/{first['id']}/correct", {"content": {"text": "better"}}).json()
        assert (made["payload"], made["replaces"]) == ({"text": "better"}, first["id"])
        assert olga.post("items/withdraw", {"ids": [made["id"]]}).json() == {"n_withdrawn": 1}
        assert olga.post(f"items/{first['id']}/bring-back").json()["withdrawn_at"] is None
        kinds = [one["kind"] for one in olga.get(f"items/{first['id']}/history").json()["results"]]
        assert kinds[0] == "imported"
        assert "replaced" in kinds


class TestRuns:
    def test_they_are_steered(self, olga, project):
        started = olga.post("runs", {"kind": "train"}).json()
        assert olga.post(f"runs/{started['id']}/pause").json()["state"] == "paused"
        assert olga.post(f"runs/{started['id']}/resume").json()["state"] == "queued"
        assert olga.post(f"runs/{started['id']}/cancel").json()["state"] == "cancelled"
        again = olga.post(f"runs/{started['id']}/retry").json()
        assert again["retry_of"] == started["id"]

    def test_a_round_may_be_asked_for(self, olga, project):
        body = {"kind": "draw", "parameters": {"batch": 20, "request": 1}}
        assert olga.post("runs", body).json()["parameters"] == {"batch": 20, "request": 1, "schema": 1}
        body["parameters"]["request"] = 9
        assert olga.post("runs", body).status_code == 422

    def test_a_run_of_a_command_says_so(self, olga, project):
        make_run(project, "train", performer=Run.Performer.COMMAND)
        make_run(project, "draw", parameters={"batch": 7})
        found = olga.get("runs").json()["results"]
        assert [one["parameters"] for one in found] == [{"batch": 7}, {"by_hand": True}]

    def test_where_a_file_lies_and_what_broke_stays_on_the_server(self, olga, project):
        make_run(project, "export", result={"folder": "/srv/x", "version": 1})
        make_run(project, "train", state="errored", message="KeyError: 'x'", trace="Traceback /srv/x")
        text = olga.get("runs").content.decode()
        assert "/srv" not in text
        assert "KeyError" not in text


class TestMethods:
    def test_each_says_what_the_project_lacks(self, olga, project):
        offered = {method["name"]: method for method in olga.get("methods").json()["methods"]}
        assert offered["gold-only"]["missing"] == ["gold"]
        assert offered["corrected"]["missing"] == []
        assert {parameter["name"] for parameter in offered["gce"]["parameters"]} >= {"q", "gold_weight"}

    def test_a_training_takes_one_with_its_parameters(self, olga, project):
        chosen = {"method": "gce", "parameters": {"q": 0.5}}
        assert olga.post("runs", {"kind": "train", "parameters": chosen}).json()["parameters"] == chosen

    def test_what_cannot_be_is_refused_before_it_runs(self, olga, project):
        for parameters in ({"method": "magic"}, {"method": "gce", "parameters": {"q": 2}}, {"parameters": {"x": 1}}):
            assert is_problem(olga.post("runs", {"kind": "train", "parameters": parameters}), 422)
        assert is_problem(olga.post("runs", {"kind": "train", "parameters": {"method": "gold-only"}}), 409)
        assert not project.runs.exists()


class TestMoney:
    def test_a_cap_is_set_and_spending_stopped(self, olga):
        assert olga.put("budgets/machine", {"cap_micros": 5_000_000}).json()["left_micros"] == 5_000_000
        assert olga.post("budgets/machine/stop").json()["is_stopped"] is True
        assert olga.post("budgets/machine/resume").json()["is_stopped"] is False
        assert olga.get("ledger").json() == {"results": [], "next": None}
        assert is_problem(olga.put("budgets/machine", {"cap_micros": -1}), 422)


class TestPeople:
    def test_somebody_is_invited_changed_and_removed(self, olga, ann):
        made = olga.post("invitations", {"role": "annotator", "email": "x@example.org"}).json()
        assert "/invitation/" in made["link"]
        assert olga.delete(f"invitations/{made['id']}").status_code == 204
        changed = olga.put(f"members/{ann.user.public_id}", {"role": "viewer", "is_trusted": False})
        assert changed.json()["role"] == Role.VIEWER
        assert olga.delete(f"members/{ann.user.public_id}").json()["n_answers"] == 0
        assert is_problem(ann.get(""), 404)

    def test_addresses_of_people_are_for_who_manages(self, project, asking):
        reviewer = asking(make_member(project, "Ravi", role=Role.REVIEWER))
        assert is_problem(reviewer.get("members"), 403)


class TestConnections:
    def test_a_key_goes_in_and_never_comes_out(self, asking, project, olga):
        sara = asking(make_user("Sara", is_site_owner=True))
        settings = {"name": "Server", "base_url": "https://llm.example.org/v1", "model": "m"}
        body = {**settings, "key": "sk-1234567890abcdef", "input_price_micros": 1, "output_price_micros": 1}
        made = sara.post("/api/v1/connections", body, Idempotency_Key="a").json()
        assert (made["has_key"], made["key_hint"]) == (True, "cdef")
        assert "sk-1234567890" not in sara.get("/api/v1/connections").content.decode()
        assert is_problem(olga.get("/api/v1/connections"), 403)
        where = f"/api/v1/connections/{made['id']}"
        assert sara.put(f"{where}/projects/{project.slug}").status_code == 204
        chosen = olga.put("annotator", {"annotator": "openai", "connection": made["id"]})
        assert chosen.json() == {"annotator": "openai", "connection": made["id"]}
        moved = sara.ask("PATCH", where, {"base_url": "https://other.example.org/v1"}).json()
        assert moved["has_key"] is False  # never sent to another server
        assert sara.put(f"{where}/active", {"is_active": False}).json()["is_active"] is False
        assert Connection.objects.count() == 1


class TestRoundsByName:
    def test_everything_and_lists_are_checked_at_once(self, olga):
        for wrong in ({"everything": 1}, {"items": [3]}, {"items": []}, {"items": ["a"], "everything": True}):
            assert olga.post("runs", {"kind": "draw", "parameters": wrong}).status_code == 422
        made = olga.post("runs", {"kind": "draw", "parameters": {"items": ["a", "b"]}})
        assert (made.status_code, made.json()["parameters"]) == (201, {"items": ["a", "b"]})

    def test_a_small_round_says_why(self, olga, project):
        current = project.rounds.get()
        type(current).objects.update(batch=9)
        short = [{"arm": "audit", "wanted": 4, "taken": 2, "reason": "target", "left": 0}]
        record("round.opened", project=project, by=None, round=1, asked_for=9, n_known=0, short=short)
        (found,) = olga.get("rounds").json()["results"]
        assert (found["batch"], found["n_questions"]) == (9, 5)
        assert found["short"] == ["Audit sample: 2 of 4 questions, because it has reached its target."]
