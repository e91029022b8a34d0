"""Labels by API: changed while they are in use, previewed in counts, taken back."""

import pytest

from annotate import projects
from annotate.models import Gold
from annotate.models.project import Arm
from tests.api.conftest import Program
from tests.api.http.test_endpoint import is_problem
from tests.factories import make_project, owner_of
from tests.rows import make_items, make_round, make_silver

pytestmark = pytest.mark.django_db

NAMES = ("red", "green", "blue")


@pytest.fixture
def project():
    """Six items with the machine label red, and two gold labels of each colour."""
    project = make_project(NAMES)
    items = make_items(project, n=6)
    make_silver(project, items)
    colours = projects.labels_of(projects.current_schema(project))
    for place, item in enumerate(items):
        Gold.objects.create(
            project=project, item=item, label=colours[place // 2], rule="imported", origin=Arm.IMPORTED, is_blind=False
        )
    return project


def rows(*labels):
    return {"labels": [{"name": label} if isinstance(label, str) else label for label in labels]}


NEXT = rows("red", {"name": "cold", "was": ["green", "blue"]}, {"name": "pink", "takes_from": ["red"]})


class TestChange:
    def test_labels_in_use_are_changed(self, olga, project):
        before = {label["name"]: label["id"] for label in olga.get("schemas/1").json()["labels"]}
        made = olga.post("schemas", {**NEXT, "base": 1})
        assert (made.status_code, made.json()["version"]) == (201, 2)
        assert [(label["name"], label["was"]) for label in made.json()["labels"]] == [
            ("red", ["red"]),
            ("cold", ["green", "blue"]),
            ("pink", []),
        ]
        after = {label["name"]: label["id"] for label in made.json()["labels"]}
        assert (after["red"], after["cold"]) == (before["red"], before["green"])
        assert after["pink"] not in before.values()

    def test_every_version_says_what_its_labels_were(self, olga, project):
        olga.post("schemas", rows("red", "green", {"name": "navy", "was": ["blue"], "machine_labels": True},
                                  {"name": "sky", "was": ["blue"]}))  # fmt: skip
        olga.post("schemas", rows("red", "green", "sky"))
        found = {one["version"]: one["labels"] for one in olga.get("schemas").json()["results"]}
        was = {version: {label["name"]: label["was"] for label in labels} for version, labels in found.items()}
        assert was == {
            1: {"red": [], "green": [], "blue": []},
            2: {"red": ["red"], "green": ["green"], "navy": ["blue"], "sky": ["blue"]},
            3: {"red": ["red"], "green": ["green"], "sky": ["sky"]},
        }

    def test_what_nothing_has_used_is_replaced(self):
        fresh = make_project(NAMES)
        program = Program(owner_of(fresh), "manage", fresh)
        made = program.post("schemas", rows("spam", "ham")).json()
        assert (made["version"], [label["was"] for label in made["labels"]]) == (2, [[], []])

    def test_the_same_again_is_no_new_version(self, olga):
        assert olga.post("schemas", rows(*NAMES)).json()["version"] == 1

    def test_of_two_who_edited_the_same_version_the_later_is_refused(self, olga):
        olga.post("schemas", {**rows("red", "green"), "base": 1})
        assert is_problem(olga.post("schemas", {**rows("green", "blue"), "base": 1}), 409)

    def test_the_same_request_twice_is_one_change(self, olga, project):
        made = [olga.post("schemas", NEXT, Idempotency_Key="a").json()["version"] for _ in range(2)]
        assert (made, project.schemas.count()) == ([2, 2], 2)

    @pytest.mark.parametrize(
        "body",
        [
            rows("red", {"name": "b", "was": ["grey"]}),
            rows("red", {"name": "a", "was": ["green"]}, {"name": "b", "was": ["green"]}),
            rows({"name": "red", "takes_from": ["green"]}, "green"),
            rows({"name": "red", "new_meening": True}, "green"),
            rows({"name": "red", "was": "red"}, "green"),
            rows("red"),
            {**rows("red", "green"), "base": 0},
        ],
    )
    def test_what_is_odd_is_refused(self, olga, project, body):
        for path in ("schemas", "schemas/preview"):
            assert is_problem(olga.post(path, body), 422)
        assert project.schemas.count() == 1


class TestPreview:
    def test_it_says_in_counts_what_would_follow(self, olga, project):
        seen = olga.post("schemas/preview", NEXT)
        assert (seen.status_code, project.schemas.count()) == (200, 1)
        fates = {one.pop("name"): one for one in seen.json()["labels"]}
        assert fates["red"] == {
            "becomes": ["red"], "reads_as": "red", "keeps_gold": False, "keeps_probability": True, "n_gold": 2,
            "n_silver": 6,
        }  # fmt: skip
        assert fates["blue"]["becomes"] == ["cold"]
        facts = ("added", "n_void", "n_asked_again", "n_settled", "keeps_models")
        assert [seen.json()[name] for name in facts] == [["pink"], 2, 0, 0, False]


class TestUndo:
    def test_the_last_change_is_taken_back_once(self, olga, project):
        olga.post("schemas", NEXT)
        assert olga.delete("schemas/2").json()["version"] == 1
        assert is_problem(olga.delete("schemas/2"), 404)
        assert is_problem(olga.delete("schemas/1"), 409)
        assert project.schemas.count() == 1

    def test_only_the_latest(self, olga):
        olga.post("schemas", NEXT)
        assert b"not the latest" in is_conflict(olga.delete("schemas/1"))

    def test_what_followed_makes_it_final(self, olga, project):
        olga.post("schemas", NEXT)
        make_round(project, list(project.items.all()))
        assert b"A round was drawn since." in is_conflict(olga.delete("schemas/2"))
        assert project.schemas.count() == 2


def is_conflict(response):
    assert is_problem(response, 409)
    return response.content
