"""Changing labels that are in use, on the page: rows, the preview in counts, two tabs, and taking it back."""

import html
import json
import re

import pytest
from django.urls import reverse

from annotate import labels, projects
from annotate.models import Gold
from annotate.models.project import Arm, Role
from annotate.reports import label_versions
from annotate.web.label_words import changes
from tests.factories import answer_round, make_member, make_project, owner_of
from tests.rows import make_items, make_model, make_round, make_silver

pytestmark = [pytest.mark.django_db, pytest.mark.portable]

NAMES = ("red", "green", "blue")
STAYS = [{"was": name, "name": name} for name in NAMES]


@pytest.fixture
def project():
    """Nine items with the machine label red, and three gold labels of each colour."""
    project = make_project(NAMES, name="Colours")
    items = make_items(project, n=9)
    make_silver(project, items)
    colours = projects.labels_of(projects.current_schema(project))
    for place, item in enumerate(items):
        Gold.objects.create(
            project=project, item=item, label=colours[place // 3], rule="imported", origin=Arm.IMPORTED, is_blind=False
        )
    return project


@pytest.fixture
def owner(project, signed_in):
    return signed_in(owner_of(project))


@pytest.fixture
def address(project):
    return reverse("settings-labels", args=[project.slug])


def form(*rows, base=1, **more):
    """What the form of these rows sends."""
    data = {"base": str(base), "label-TOTAL_FORMS": str(len(rows)), "label-INITIAL_FORMS": str(len(rows)), **more}
    for place, row in enumerate(rows):
        fields = {"was": "", "part_of": "", "name": "", "definition": "", "examples": "", "becomes": ""} | row
        data |= {f"label-{place}-{name}": value for name, value in fields.items()}
    return data


def text_of(response):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())))


def read(project):
    """What the gold of the first item of each colour reads as now."""
    history = labels.history(projects.current_schema(project))
    found = (history.gold_label(row.label_id) for row in project.gold.order_by("item__ordinal")[::3])
    return [label.name if label else None for label in found]


def said(project):
    """What the latest version did, in words."""
    return changes(label_versions.versions(project)[0])


class TestChange:
    @pytest.mark.parametrize(
        ("rows", "more", "names", "gold", "sentence"),
        [
            ([{"was": "red", "name": "crimson"}, *STAYS[1:]], {}, ["crimson", "green", "blue"],
             ["crimson", "green", "blue"], "red was renamed to crimson."),
            ([*STAYS[:2], {"was": "blue", "name": "blue", "becomes": "into:green"}], {}, ["red", "green"],
             ["red", "green", "green"], "green, blue were merged into green."),
            ([*STAYS[:2], {"was": "blue", "name": "blue", "becomes": "retired"}], {}, ["red", "green"],
             ["red", "green", None], "blue was retired."),
            ([*STAYS[:2], {"was": "blue"}], {}, ["red", "green"], ["red", "green", None], "blue was retired."),
            ([*STAYS, {"name": "pink"}], {}, [*NAMES, "pink"], [None, None, None], "Added: pink."),
            ([*STAYS, {"name": "pink", "takes": "some", "takes_from": ["red"]}], {}, [*NAMES, "pink"],
             [None, "green", "blue"], "3 gold labels became void, of: red."),
            ([*STAYS, {"name": "pink", "takes": "some"}], {}, [*NAMES, "pink"], list(NAMES), "Added: pink."),
            ([*STAYS[:2], {"was": "blue", "name": "navy"}, {"part_of": "blue", "name": "sky"}],
             {"reads-blue": "label-3"}, ["red", "green", "navy", "sky"], ["red", "green", None],
             "blue was split into navy, sky; machine labels read as sky."),
            ([{"was": "red", "name": "red", "definition": "of blood", "changed": "meaning"}, *STAYS[1:]], {},
             list(NAMES), [None, "green", "blue"], "3 gold labels became void, of: red."),
            ([{"was": "red", "name": "red", "definition": "of blood", "changed": "wording"}, *STAYS[1:]], {},
             list(NAMES), list(NAMES), "Only the order changed, or the wording of what labels mean."),
        ],
    )  # fmt: skip
    def test_what_is_confirmed_is_done(self, owner, project, address, rows, more, names, gold, sentence):
        sent = form(*rows, **more)
        assert owner.post(address, sent).status_code == 200
        assert projects.current_schema(project).version == 1
        response = owner.post(address, {**sent, "confirm": "1"})
        assert "The labels are changed: version 2." in text_of(owner.get(response.headers["Location"]))
        assert [label.name for label in projects.labels_of(projects.current_schema(project))] == names
        assert read(project) == gold
        assert sentence in said(project)

    def test_the_preview_counts(self, owner, project, address):
        make_model(project)
        rows = [STAYS[0], STAYS[1], {"was": "blue", "name": "blue", "becomes": "into:green"}, {"name": "pink"}]
        text = text_of(owner.post(address, form(*rows)))
        for words in (
            "Nothing is stored yet.", "9 gold labels become void", "Nothing is asked again by itself",
            "no model delivers before you train again", "red stays 3 become void 9 read as red",
            "blue is merged into green 3 become void none", "pink is new none yet",
        ):  # fmt: skip
            assert words in text, words

    def test_the_preview_of_a_rename_says_that_nothing_is_lost(self, owner, project, address):
        make_model(project)
        text = text_of(owner.post(address, form({"was": "red", "name": "crimson"}, *STAYS[1:])))
        assert "All gold labels stay valid." in text and "The model in use goes on delivering." in text
        assert "red is renamed to crimson 3 stay valid 9 read as crimson" in text

    def test_what_the_preview_holds_is_what_is_sent(self, owner, project, address):
        """Confirmed, or edited again, by what the preview's own form sends."""
        rows = [STAYS[0], {"was": "green", "name": "green <b>"}, STAYS[2], {"name": "pink", "takes": "some"}]
        sent = form(*rows) | {"label-3-takes_from": ["red", "blue"]}
        page = owner.post(address, sent).content.decode()
        found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
        held: dict[str, list[str]] = {}
        for name, value in found:
            held.setdefault(html.unescape(name), []).append(html.unescape(value))
        again = owner.post(address, {**held, "edit": "1"})
        assert [row["name"].value() for row in again.context["rows"]] == ["red", "green <b>", "blue", "pink"]
        assert again.context["rows"][3].takes_from == ["red", "blue"]
        owner.post(address, {**held, "confirm": "1"})
        assert read(project) == [None, "green <b>", None]

    @pytest.mark.parametrize(
        ("rows", "more", "sentence"),
        [
            ([{"was": "red", "name": "red", "definition": "of blood"}, *STAYS[1:]], {}, "say which of both"),
            ([STAYS[0], {"was": "green", "name": "green", "becomes": "into:blue"},
              {"was": "blue", "name": "blue", "becomes": "retired"}], {}, "blue does not stay itself"),
            ([{"was": "red", "name": "red", "becomes": "into:red"}, *STAYS[1:]], {}, "red does not stay itself"),
            ([{"was": "red", "name": "green"}, *STAYS[1:]], {}, "there twice"),
            ([{"was": "red", "name": "red"}, {"was": "green"}, {"was": "blue"}], {}, "1 were given"),
            ([*STAYS, {"part_of": "blue", "name": "sky"}], {}, "is split: choose the one"),
            ([*STAYS, {"was": "grey", "name": "grey"}], {}, "There is no label 'grey' now."),
            ([*STAYS, {"name": "pink", "takes": "some", "takes_from": ["grey"]}], {}, "no label 'grey'"),
            ([*STAYS, {"name": "x" * 101}], {}, "at most 100 characters"),
        ],
    )  # fmt: skip
    def test_what_is_odd_is_said_and_nothing_is_lost(self, owner, project, address, rows, more, sentence):
        for step in ({}, {"confirm": "1"}):
            response = owner.post(address, {**form(*rows, **more), **step})
            assert response.status_code == 422
            assert sentence in text_of(response)
            assert len(response.context["rows"]) == len(rows)
        assert projects.current_schema(project).version == 1

    def test_nothing_changed_is_no_version(self, owner, project, address):
        response = owner.post(address, form(*STAYS))
        assert "Nothing was changed: this is version 1." in text_of(owner.get(response.headers["Location"]))
        assert project.schemas.count() == 1

    def test_what_came_into_use_meanwhile_is_previewed_all_the_same(self, signed_in):
        project = make_project(NAMES)
        client, address = signed_in(owner_of(project)), reverse("settings-labels", args=[project.slug])
        assert b"Save as a new version" in client.get(address).content
        make_silver(project, make_items(project, 1))
        assert "Nothing is stored yet." in text_of(client.post(address, form(*STAYS[:2], {"name": "pink"})))
        assert project.schemas.count() == 1


class TestTwice:
    def test_the_second_tab_is_told_and_keeps_what_it_wrote(self, owner, project, address):
        owner.post(address, form(*STAYS[1:], STAYS[0], confirm="1"))
        late = owner.post(address, form(STAYS[0], STAYS[1], {"was": "blue", "name": "navy"}, confirm="1"))
        assert late.status_code == 409
        assert "Somebody else saved other labels meanwhile." in text_of(late)
        assert late.context["rows"][2]["name"].value() == "navy"
        assert project.schemas.count() == 2
        again = form(STAYS[0], STAYS[1], {"was": "blue", "name": "navy"}, base=late.context["base"], confirm="1")
        assert owner.post(address, again).status_code == 303
        assert read(project) == ["red", "green", "navy"]

    def test_pressed_twice_is_done_once(self, owner, project, address):
        sent = form(STAYS[0], STAYS[1], {"was": "blue", "name": "navy"}, confirm="1")
        assert [owner.post(address, sent).status_code for _ in range(2)] == [303, 303]
        assert project.schemas.count() == 2

    def test_a_change_taken_back_twice_is_taken_back_once(self, owner, project, address):
        owner.post(address, form(*STAYS[1:], STAYS[0], confirm="1"))
        owner.post(address, form(*STAYS, base=2, confirm="1"))
        undo = reverse("settings-labels-undo", args=[project.slug])
        assert [owner.post(undo, {"version": "3"}).status_code for _ in range(2)] == [303, 409]
        assert projects.current_schema(project).version == 2


class TestRows:
    @pytest.mark.parametrize(
        ("button", "names"),
        [
            ({"up": "2"}, ["red", "blue", "green"]), ({"down": "0"}, ["green", "red", "blue"]),
            ({"up": "0"}, ["red", "green", "blue"]), ({"down": "2"}, ["red", "green", "blue"]),
            ({"add": "1"}, ["red", "green", "blue", ""]), ({"split": "1"}, ["red", "green", "", "blue"]),
            ({"split": "9"}, ["red", "green", "blue"]), ({"up": "x"}, ["red", "green", "blue"]),
        ],
    )  # fmt: skip
    def test_buttons_arrange_them_and_store_nothing(self, owner, project, address, button, names):
        response = owner.post(address, form(*STAYS, **button))
        assert [row["name"].value() or "" for row in response.context["rows"]] == names
        assert project.schemas.count() == 1

    def test_the_same_button_of_the_moved_row_has_the_focus(self, owner, address):
        text = owner.post(address, form(*STAYS, up="2")).content.decode()
        assert re.search(r'<button[^>]* name="up" value="1"[^>]* autofocus', text)
        text = owner.post(address, form(*STAYS, up="1")).content.decode()
        assert re.search(r'<button[^>]* name="down" value="0"[^>]* autofocus', text)  # it cannot go on up
        assert text.count("autofocus") == 1

    def test_what_was_chosen_moves_with_its_row(self, owner, address):
        pink = {"name": "pink", "takes": "some", "takes_from": ["red", "blue"]}
        lime = {"was": "green", "name": "lime", "becomes": "into:red"}
        rows = [STAYS[0], lime, STAYS[2], {"part_of": "blue", "name": "sky"}, pink]
        found = owner.post(address, form(*rows, **{"reads-blue": "label-3", "up": "4"})).context["rows"]
        assert [row["name"].value() for row in found] == ["red", "lime", "blue", "pink", "sky"]
        assert found[1]["becomes"].value() == "into:red"
        assert found[3].takes_from == ["red", "blue"]
        assert [row.reads for row in found] == [False, False, False, False, True]

    def test_only_the_form_is_sent_to_a_page_that_asks_for_it(self, owner, address):
        text = owner.post(address, form(*STAYS, up="2"), headers={"HX-Request": "true"}).content.decode()
        assert text.strip().startswith('<form id="labels"')
        assert "<html" not in text and "Versions" not in text

    def test_there_are_no_more_rows_than_can_be_sent(self, signed_in):
        many = make_project(tuple(f"label {i}" for i in range(100)))
        make_silver(many, make_items(many, 1))
        client, address = signed_in(owner_of(many)), reverse("settings-labels", args=[many.slug])
        rows = [{"was": f"label {i}", "name": f"label {i}"} for i in range(100)]
        response = client.post(address, form(*rows, add="1"))
        assert len(response.context["rows"]) == 100
        assert "More than 100 labels are edited as JSON" in text_of(response)


class TestPasted:
    def test_json_says_what_becomes_of_each(self, owner, project, address):
        new = [{"name": "warm", "was": ["red"]}, {"name": "cold", "was": ["green", "blue"], "new_meaning": True}]
        sent = {"paste": "1", "base": "1", "labels": json.dumps(new)}
        assert "6 gold labels become void" in text_of(owner.post(address, sent))
        owner.post(address, {**sent, "confirm": "1"})
        assert read(project) == ["warm", None, None]

    def test_lines_are_labels_of_the_same_name_or_new_ones(self, owner, project, address):
        owner.post(address, {"paste": "1", "base": "1", "labels": "blue\ngreen", "confirm": "1"})
        assert read(project) == [None, "green", "blue"]

    def test_what_stands_there_renames_where_a_name_is_edited(self, owner, project, address):
        text = owner.get(address).context["pasted"]["labels"].value()
        edited = text.replace('"name": "red"', '"name": "crimson"')
        owner.post(address, {"paste": "1", "base": "1", "labels": edited, "confirm": "1"})
        assert read(project) == ["crimson", "green", "blue"]

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ('[{"name": "red", "new_meening": true}, "green"]', "nothing here is called new_meening"),
            ('[{"name": "red", "was": "green"}, "green"]', "are lists of names"),
            ('[{"name": "red", "new_meaning": 1}, "green"]', "are true or false"),
            ('["red", {"name": "b", "was": ["grey"]}]', "There is no label 'grey' now."),
            ('["red",', "This JSON is broken in line 1"),
        ],
    )
    def test_what_is_wrong_is_said(self, owner, project, address, text, sentence):
        response = owner.post(address, {"paste": "1", "base": "1", "labels": text})
        assert response.status_code == 422
        assert sentence in text_of(response)
        assert response.context["pasted"]["labels"].value() == text


class TestUndo:
    def test_until_something_follows_it_is_offered(self, owner, project, address):
        owner.post(address, form(*STAYS[1:], STAYS[0], confirm="1"))
        assert "Take this change back" in text_of(owner.get(address))
        response = owner.post(reverse("settings-labels-undo", args=[project.slug]), {"version": "2"})
        assert "version 1 is in force" in text_of(owner.get(response.headers["Location"]))
        assert "Take this change back" not in text_of(owner.get(address))

    def test_afterwards_the_page_says_why_not(self, owner, project, address):
        make_round(project, list(project.items.all()))
        owner.post(address, form(*STAYS[1:], STAYS[0], confirm="1"))
        answer_round(project, "blue")
        text = text_of(owner.get(address))
        assert "This change can no longer be taken back. Answers were given since." in text
        assert "Take this change back" not in text
        refused = owner.post(reverse("settings-labels-undo", args=[project.slug]), {"version": "2"})
        assert refused.status_code == 409
        assert "Answers were given since." in text_of(refused)

    def test_a_version_of_the_same_number_tells_what_the_later_change_did(self, owner, project, address):
        owner.post(address, form(*STAYS[:2], confirm="1"))
        owner.post(reverse("settings-labels-undo", args=[project.slug]), {"version": "2"})
        owner.post(address, form(*STAYS[:2], {"was": "blue", "name": "navy"}, confirm="1"))
        assert said(project) == ["blue was renamed to navy."]


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER])
def test_others_change_no_labels(project, signed_in, address, role):
    client = signed_in(make_member(project, role=role))
    for url in (address, reverse("settings-labels-undo", args=[project.slug])):
        assert client.post(url, form(*STAYS[:2], confirm="1")).status_code == 403
    assert project.schemas.count() == 1
