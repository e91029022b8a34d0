"""Answering by program: what is given, what is stored, and what is never shown."""

import pytest

from annotate.models import Annotation, IdempotentRequest, Lease, QueueEntry
from annotate.models.project import Role
from tests.annotate.asking import change_labels
from tests.api.conftest import Program
from tests.api.http.test_endpoint import is_problem
from tests.api.test_routes import NEEDS
from tests.factories import make_member
from tests.web.labeling.test_blindness import machines_say

pytestmark = pytest.mark.django_db


def held(program: Program, n: int = 1) -> list[str]:
    return [one["lease"] for one in program.post("label/next", {"n": n}).json()["questions"]]


class TestNext:
    def test_it_gives_the_content_and_nothing_else(self, ann):
        [question] = ann.post("label/next").json()["questions"]
        assert question.keys() == {"lease", "payload", "suggestion", "draft"}
        assert question["payload"] == {"text": "one"}
        assert question["suggestion"] is None
        assert "secret" not in str(question)

    def test_it_gives_the_same_until_they_are_answered(self, ann):
        assert held(ann, 3) == held(ann, 3)
        assert Lease.objects.filter(annotator=ann.user).count() == 3

    def test_what_is_asked_alone_counts_as_seen(self, ann):
        [lease] = held(ann)
        assert Lease.objects.get(public_id=lease).shown_at is not None

    def test_it_says_why_there_is_nothing(self, ann, project):
        QueueEntry.objects.filter(round__project=project).update(state="answered")
        assert ann.post("label/next").json() == {
            "schema": 1,
            "questions": [],
            "empty": {"kind": "round_done", "n_waiting": 0, "n_held_by_others": 0},
        }


class TestSubmit:
    def test_it_stores_what_was_said(self, ann):
        [lease] = held(ann)
        body = {"lease": lease, "label": 1, "seconds": 2.5, "is_flagged": True, "comment": "a\r\nb "}
        response = ann.post("label/submit", body)
        assert response.status_code == 201
        row = Annotation.objects.get()
        assert (row.label.index, row.seconds, row.is_flagged, row.comment) == (1, 2.5, True, "a\nb ")
        assert response.json() == {
            "id": row.public_id, "label": 1, "schema": 1, "reason": None, "revision": 1, "is_counted": True,
            "why_uncounted": None, "is_flagged": True, "comment": "a\nb ", "created_at": response.json()["created_at"],
        }  # fmt: skip

    def test_the_same_key_stores_it_once(self, ann):
        [lease] = held(ann)
        body = {"lease": lease, "label": 1}
        first = ann.post("label/submit", body, Idempotency_Key="1")
        again = ann.post("label/submit", body, Idempotency_Key="1")
        assert first.json() == again.json()
        assert Annotation.objects.count() == 1
        assert not IdempotentRequest.objects.exists()  # the answer itself keeps the key
        assert is_problem(ann.post("label/submit", {**body, "label": 2}, Idempotency_Key="1"), 409)

    def test_two_programs_that_count_from_one_do_not_meet(self, ann, project, asking):
        ben = asking(make_member(project, "Ben"))
        for program in (ann, ben):
            [lease] = held(program)
            assert program.post("label/submit", {"lease": lease, "label": 0}, Idempotency_Key="1").status_code == 201
        assert Annotation.objects.count() == 2

    def test_other_peoples_leases_are_lost_to_it(self, ann, project, asking):
        [lease] = held(ann)
        ben = asking(make_member(project, "Ben"))
        assert is_problem(ben.post("label/submit", {"lease": lease, "label": 0}), 409)
        assert not Annotation.objects.exists()

    @pytest.mark.parametrize("label", [-1, 3, 10**30, "0", None, 1.0, True, [0]])
    def test_a_label_is_one_of_the_project(self, ann, label):
        [lease] = held(ann)
        assert is_problem(ann.post("label/submit", {"lease": lease, "label": label}), 422)

    def test_it_skips_with_a_reason(self, ann):
        [lease] = held(ann)
        assert ann.post("label/skip", {"lease": lease, "reason": "unclear"}).json()["reason"] == "unclear"
        assert is_problem(ann.post("label/skip", {"lease": lease, "reason": "bored"}), 422)

    def test_it_changes_an_answer_and_tells_it(self, ann):
        [lease] = held(ann)
        ann.post("label/submit", {"lease": lease, "label": 1})
        assert ann.post("label/change", {"lease": lease, "label": 2}).json()["revision"] == 2
        [past] = ann.get("label/history").json()["results"]
        assert (past["lease"], past["label"], past["payload"]) == (lease, 2, {"text": "one"})

    def test_it_renews_drafts_and_gives_back(self, ann):
        leases = held(ann, 2)
        assert ann.post("label/renew", {"leases": leases, "shown": leases[0]}).json() == {"held": leases}
        assert ann.put("label/draft", {"lease": leases[0], "label": 1, "comment": "hm"}).status_code == 204
        first = ann.post("label/next", {"n": 2}).json()["questions"][0]
        assert first["draft"] == {"label": 1, "is_flagged": False, "comment": "hm"}
        assert ann.post("label/release", {"leases": leases}).json() == {"n_released": 2}


class TestBlindness:
    """S-1: whatever the machines say of blind questions, who answers them gets the same bytes."""

    def everything(self, program: Program, lease: str, answered: str) -> dict[str, tuple[int, bytes]]:
        found = {}
        for name, ways in NEEDS.items():
            path = name.removeprefix("api-").replace("label-", "label/")
            if "GET" in ways and name not in ("api-schema", "api-me"):
                for query in ("", "?state=all", "?of=flagged"):
                    response = program.get(f"{path}{query}")
                    found[f"{path}{query}"] = (response.status_code, response.content)
        for path, body in (
            ("label/next", {"n": 2}),
            ("label/renew", {"leases": [lease, answered]}),
            ("label/reveal", {"lease": lease}),
            ("label/reveal", {"lease": answered}),
            ("label/why", {"lease": answered}),
            ("label/submit", {"lease": answered, "label": 1}),
        ):
            response = program.post(path, body, Idempotency_Key="again")
            found[f"POST {path} {body}"] = (response.status_code, response.content)
        return found

    @pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER])
    def test_what_the_machines_say_changes_no_byte(self, project, asking, role):
        program = asking(make_member(project, "Ann", role=role))
        machines_say(project, 0, 0.9)
        answered, lease = held(program, 2)
        program.post("label/submit", {"lease": answered, "label": 1}, Idempotency_Key="again")
        self.everything(program, lease, answered)  # some things are done that the next time are done already
        before = self.everything(program, lease, answered)
        assert sum(status == 200 for status, _ in before.values()) > 5
        machines_say(project, 1, 0.4)
        after = self.everything(program, lease, answered)
        assert {name for name in before if before[name] != after[name]} == set()

    def test_the_test_sees_a_leak(self, project, asking):
        program = asking(make_member(project, "Ann"))
        QueueEntry.objects.update(suggestion="shown", is_blind=False)
        machines_say(project, 0, 0.9)
        answered, lease = held(program, 2)
        before = self.everything(program, lease, answered)
        machines_say(project, 1, 0.4)
        assert before != self.everything(program, lease, answered)

    def test_metadata_is_for_those_who_may_have_the_export(self, project, asking):
        reviewer = asking(make_member(project, "Ravi", role=Role.REVIEWER))
        viewer = asking(make_member(project, "Vera", role=Role.VIEWER))
        assert "secret" not in reviewer.get("items").content.decode()
        assert "secret-metadata" in viewer.get("items").content.decode()
        assert reviewer.get("items?external_id=secret-id-0").json()["results"] == []
        assert len(viewer.get("items?external_id=secret-id-0").json()["results"]) == 1


class TestChangedLabels:
    def test_a_program_may_say_which_labels_it_saw(self, ann, project):
        [lease] = held(ann)
        change_labels(project, ("maybe", "yes", "no"))
        body = ann.post("label/submit", {"lease": lease, "label": 0, "schema": 1}).json()
        assert (body["label"], body["schema"], body["is_counted"]) == (0, 1, True)
        [past] = ann.get("label/history").json()["results"]
        assert (past["label"], past["schema"]) == (1, 2)

    def test_a_void_answer_says_so(self, ann, project):
        [lease] = held(ann)
        change_labels(project, ("yes", "no"))
        body = ann.post("label/submit", {"lease": lease, "label": 2, "schema": 1}).json()
        assert (body["is_counted"], body["why_uncounted"]) == (False, "labels_changed")
        [past] = ann.get("label/history").json()["results"]
        assert (past["label"], past["schema"], past["why_uncounted"]) == (2, 1, "labels_changed")
        assert lease not in held(ann)
        assert len(held(ann, 5)) == 5

    def test_a_replay_without_a_version_gives_the_first_answer(self, ann, project):
        [lease] = held(ann)
        first = ann.post("label/submit", {"lease": lease, "label": 2}, Idempotency_Key="1")
        change_labels(project, ("yes", "no"))
        again = ann.post("label/submit", {"lease": lease, "label": 2}, Idempotency_Key="1")
        assert (again.status_code, again.json()) == (201, first.json())

    def test_a_draft_names_its_labels_too(self, ann, project):
        [lease] = held(ann)
        change_labels(project, ("maybe", "yes", "no"))
        assert ann.put("label/draft", {"lease": lease, "label": 0, "schema": 1}).status_code == 204
        assert ann.post("label/next").json()["questions"][0]["draft"]["label"] == 1
        assert is_problem(ann.put("label/draft", {"lease": lease, "label": 0, "schema": 9}), 422)
