"""S-5: no response tells the blind arms apart, to no role, on no route, before an answer, after it, or over time.

Two questions swap their arms; everything else stays as it is. Whoever asks for whatever must get the same bytes.
ABOUT_NO_ITEM is written by hand: a route that is new fails until somebody has said what it is.
"""

import copy
import itertools
import json
import re
from collections.abc import Iterator, Set
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from annotate.accounts import tokens
from annotate.labeling import leases
from annotate.models import Draw, ItemPayload, Project, QueueEntry
from annotate.models.project import Arm, Role
from tests.api.test_routes import NEEDS as API
from tests.rows import make_silver
from tests.web.site import Place, all_routes, api_routes, make_place
from tests.web.test_routes import NEEDS as PAGES

# Two of them are revealed after the round: of all arms the answers must look alike while it is open.
POLICY = {Arm.START.value: "revealed", Arm.ACTIVE.value: "hidden", Arm.CONFLICT.value: "revealed"}
BLIND = [Arm.AUDIT, Arm.RANDOM, Arm.REQUEST, Arm.START, Arm.ACTIVE, Arm.CONFLICT]
PAIRS = list(itertools.combinations(BLIND, 2))

# What changes something else than an answer, or speaks of no item. Their pages, if they have any, are walked.
ABOUT_NO_ITEM = {
    "accounts-deactivate", "accounts-hand-over", "accounts-reactivate", "accounts-vouch", "address-change",
    "address-send", "api-account-active", "api-account-project-owner", "api-account-vouch", "api-invitation-link",
    "api-invitation-send", "api-mail-send", "api-me-address", "api-owner", "invitation-link", "invitation-send",
    "mails-send",
    "projects-create", "markdown-preview", "sign-in", "sign-out", "password-change", "password-reset", "profile-show",
    "sessions-end", "token-create", "token-revoke", "invitation-accept", "theme-set", "connections-create",
    "connections-show", "connections-test", "connections-lend", "connections-switch", "review-decide", "items-withdraw",
    "items-bring-back", "items-correct", "imports-upload", "imports-go-on", "imports-give-up", "imports-start",
    "imports-count", "imports-discard", "settings-show", "settings-annotator", "settings-labels",
    "settings-labels-undo", "settings-guidelines", "people-invite", "people-set", "people-release", "people-password",
    "people-remove", "invitation-revoke", "budget-cap", "budget-stop", "budget-resume", "prelabel-choose", "runs-start",
    "runs-pause", "runs-resume", "runs-cancel", "runs-retry",
    "api-connections", "api-connection", "api-connection-active", "api-connection-test", "api-connection-project",
    "api-projects", "api-project", "api-schemas", "api-schema-version", "api-guidelines",
    "api-items-withdraw", "api-item-correct", "api-item-bring-back", "api-uploads", "api-upload", "api-upload-preview",
    "api-upload-count", "api-imports", "api-import-abandon", "api-runs", "api-run-pause", "api-run-resume",
    "api-run-cancel", "api-run-retry", "api-exports", "api-adjudications", "api-annotator", "api-budget",
    "api-budget-stop", "api-budget-resume", "api-member", "api-member-release", "api-member-password",
    "api-invitations", "api-invitation",
}  # fmt: skip
# Answering: `_answering` sends them, in the order in which somebody could.
ANSWERING = {
    "labeling-next", "labeling-again", "labeling-submit", "labeling-change", "labeling-renew", "labeling-release",
    "labeling-draft", "labeling-reveal", "labeling-why",
    "api-label-next", "api-label-submit", "api-label-skip", "api-label-change", "api-label-renew", "api-label-release",
    "api-label-draft", "api-label-reveal", "api-label-why", "api-schema-preview",
}  # fmt: skip
# Pages and lists about items, answers and what machines say: those that are walked each time.
ABOUT_ITEMS = {
    "overview-show", "labeling-work", "labeling-history", "review-list", "review-show", "items-list", "items-show",
    "items-skipped", "items-flagged", "prelabel-show", "exports-list", "api-progress", "api-items", "api-item",
    "api-item-history", "api-predictions", "api-predictions item", "api-estimates", "api-annotations", "api-rounds",
    "api-label", "api-label-history", "api-disputes", "items-list silver",
}  # fmt: skip
# What counts: looked at between two answers, too.
COUNTERS = {
    "overview-show",
    "items-list",
    "api-progress",
    "api-rounds",
    "api-label",
    "budget-show",
}
# Viewers never answer, and see what machines say of each item, and why it was drawn.
FOR_VIEWERS = {"items-show", "api-item-history"}

_FRESH = re.compile(r'csrfmiddlewaretoken" value="[^"]*"|name="key" value="[^"]*"')
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\"< ]*|[A-Z][a-z]+\.? \d+, \d{4}, [^<\"]*?(?:[ap]\.m\.|noon|midnight)"
)
_ID = re.compile(r"\b[0-9a-f]{20}\b")


def test_every_route_is_walked_or_said_to_speak_of_no_item():
    with_pages = {name for name, (_, methods) in PAGES.items() if "GET" in methods}
    with_pages |= {name for name, ways in API.items() if "GET" in ways}
    known = {name for name, _, _ in (*all_routes(), *api_routes())}
    assert known == with_pages | ABOUT_NO_ITEM | ANSWERING
    assert not ABOUT_NO_ITEM & ANSWERING


@pytest.fixture(scope="module")
def place_for_all(rows_for_all: None) -> Place:
    place = make_place()
    project = place.project
    Project.objects.filter(pk=project.pk).update(suggestion_policy=POLICY)
    project.refresh_from_db()
    leases.release_all(project=project, user=place.people["annotator"])
    QueueEntry.objects.filter(round__project=project).update(overlap=1)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    project.runs.update(finished_at=long_ago)  # what ended just now is news on pages for a while
    make_silver(project, project.items.all())
    ItemPayload.objects.filter(item__project=project).update(metadata={"gpt_label": "yes", "from": "here"})
    place.ids |= {"project": project.slug, "kind": "machine", "version": 1}
    return place


@pytest.fixture
def place(db: None, place_for_all: Place) -> Place:
    return copy.deepcopy(place_for_all)


@pytest.fixture(autouse=True)
def programs_ask_as_often_as_they_like(settings, tmp_path) -> None:
    settings.API_THROTTLES = {"request": (0, 0), "submit": (0, 0)}
    settings.API_THROTTLE_FILE = tmp_path / "throttles"


class Walk:
    """Everything that one person can ask, in the browser and as a program, with the answers as they can be compared."""

    def __init__(self, place: Place, role: str, routes: Set[str] | None = None) -> None:
        """`routes`: only these pages; None: all."""
        self.place, self.role, self.person, self.routes = place, role, place.people[role], routes
        self.client = Client()
        self.client.force_login(self.person)
        things = [*place.people.values(), *place.project.items.all(), place.project, *place.project.runs.all()]
        self.labels = list(place.project.schemas.latest("version").labels.values_list("name", flat=True))
        self.known = {*map(str, place.ids.values()), *(one.public_id for one in things)}
        self.headers = {"Authorization": f"Bearer {tokens.create(by=self.person, name='walk', scope='manage')[1]}"}

    def answers(self) -> dict[str, tuple[int, str, int]]:
        """By request: status, the body without what changes by itself, and its length."""
        self.found: dict[str, tuple[int, str, int]] = {}
        with transaction.atomic():
            if self.routes is None:
                self._looking("before")
            self._answering()
            self._looking("after")
            transaction.set_rollback(True)
        return self.found

    def _looking(self, when: str, only: Set[str] | None = None) -> None:
        for name, url, is_of_api in self._addresses():
            if only is not None and name not in only or self.routes is not None and name not in self.routes:
                continue
            if self.role == Role.VIEWER and name in FOR_VIEWERS:
                continue
            self._ask(f"{when} {name}", "GET", url, {} if not is_of_api else self.headers)

    def _addresses(self) -> Iterator[tuple[str, str, bool]]:
        for routes, needs, is_of_api in ((all_routes(), PAGES, False), (api_routes(), API, True)):
            for name, _, pattern in routes:
                methods = needs[name] if is_of_api else needs[name][1]
                if "GET" in methods and name not in ("sign-in", "api-schema", "api-docs"):
                    yield name, reverse(name, kwargs=self._named(pattern)), is_of_api
        yield "api-predictions item", f"{self._url('api-predictions')}?item={self.place.ids['item']}", True
        yield "api-label-history closed", f"{self._url('api-label-history')}?state=closed", True
        yield "items-list silver", f"{self._url('items-list')}?has=silver&has=gold", False
        yield "items-list text", f"{self._url('items-list')}?q=question", False

    def _named(self, pattern: Any) -> dict[str, Any]:
        return {name: self.place.ids[name] for name in pattern.pattern.converters}

    def _url(self, name: str) -> str:
        key = "project" if name.startswith("api-") else "slug"
        return reverse(name, kwargs={key: self.place.project.slug})

    def _answering(self) -> None:
        """Answer the first question as the page's script does, the second as a program, looking at all times."""
        held = self._page("next")
        first, second = (held.get("held") or ["0" * 20, "0" * 20])[:2]
        for lease in (first, second):
            self._curious(lease, "asked")
            self._page("draft", lease=lease, comment="hm")
            self._program("PUT", "draft", lease=lease, comment="hm")
        self._page("submit", lease=first, label=1, key="walk 1")
        self._looking("in between", COUNTERS)
        self._thinking_of_labels()
        self._program("POST", "submit", lease=second, label=1)
        for lease in (first, second):
            self._curious(lease, "answered")
        self._page("change", lease=first, label=2, key="walk 2")
        self._looking("changed", COUNTERS)
        self._program("POST", "change", lease=second, label=2)
        for lease in (first, second):
            self._curious(lease, "changed")
        self._page("renew", lease=first, shown=first)
        self._program("POST", "renew", leases=[second])
        self._program("POST", "next", n=2)
        self._page("next", have=first)
        self._page("again")
        self._program("POST", "skip", lease=second, reason="unclear")
        self._page("release", lease=first)
        self._program("POST", "release", leases=[second])

    def _thinking_of_labels(self) -> None:
        """What a change of labels would do to what was just answered: counts, of which nothing is stored."""
        new = [{"name": name, "new_meaning": True} for name in self.labels]
        body = json.dumps({"labels": new})
        self._ask("labels preview", "POST", self._url("api-schema-preview"), self.headers, body)

    def _curious(self, lease: str, when: str) -> None:
        for what in ("reveal", "why"):
            self._page(what, when, lease=lease)
            self._program("POST", what, when, lease=lease)
        self._ask(f"{when} change page", "GET", f"{self._url('labeling-work')}?change={lease}", {})
        script = {"Accept": "application/json"}
        self._ask(f"{when} history {len(self.found)}", "GET", self._url("labeling-history"), script)
        self._ask(f"{when} history of programs", "GET", self._url("api-label-history"), self.headers)

    def _page(self, action: str, when: str = "", **fields: Any) -> Any:
        url, sent = self._url(f"labeling-{action}"), {"Accept": "application/json"}
        return self._ask(f"{when} {action} {len(self.found)}", "POST", url, sent, fields)

    def _program(self, method: str, action: str, when: str = "", **body: Any) -> Any:
        name = f"{when} program {action} {len(self.found)}"
        return self._ask(name, method, self._url(f"api-label-{action}"), self.headers, json.dumps(body))

    def _ask(self, name: str, method: str, url: str, headers: dict[str, str], data: Any = b"") -> Any:
        if isinstance(data, dict):
            response: Any = self.client.post(url, data, headers=headers)
        else:
            response = self.client.generic(method, url, data, content_type="application/json", headers=headers)
        body = b"".join(response.streaming_content) if response.streaming else response.content
        plain = self._plain(body.decode())
        self.found[name] = (response.status_code, plain, len(plain))
        return response.json() if response.headers.get("Content-Type") == "application/json" else {}

    def _plain(self, text: str) -> str:
        """Without tokens, moments, and the ids of what the walk itself made: each walk makes others."""
        text = _MOMENT.sub("TIME", _FRESH.sub("", text))
        return _ID.sub(lambda found: found[0] if found[0] in self.known else "an id", text)


def drawn_by(project: Project, *arms: str) -> None:
    """As rounds.draw_round would have it: the first questions drawn by these arms."""
    for entry, arm in zip(QueueEntry.objects.filter(round__project=project).order_by("position"), arms, strict=False):
        shown = project.suggestion_for({arm})
        QueueEntry.objects.filter(pk=entry.pk).update(suggestion=shown, is_blind=shown != "shown")
        Draw.objects.filter(item=entry.item_id).update(arm=arm)


def different(place: Place, role: str, one: str, other: str, routes: Set[str] | None = None) -> dict[str, Any]:
    """The requests that are answered otherwise where the arms of two questions are swapped, and where."""
    walk = Walk(place, role, routes)
    drawn_by(place.project, one, other)
    first = walk.answers()
    drawn_by(place.project, other, one)
    second = walk.answers()
    assert first.keys() == second.keys()
    assert sum(status == 200 for status, _, _ in first.values()) > 10
    return {name: _where(first[name], second[name]) for name in first if first[name] != second[name]}


def _where(one: tuple[int, str, int], other: tuple[int, str, int]) -> Any:
    """The statuses, and both bodies around the first place where they differ."""
    pairs = enumerate(zip(one[1], other[1], strict=False))
    place = next((place for place, (a, b) in pairs if a != b), min(len(one[1]), len(other[1])))
    return [(status, body[max(place - 60, 0) : place + 60]) for status, body, _ in (one, other)]


@pytest.mark.parametrize("role", [Role.OWNER])  # all others: below
def test_two_arms_look_alike(place, role):
    assert different(place, role, Arm.AUDIT, Arm.START, ABOUT_ITEMS) == {}


@pytest.mark.slow
@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_all_arms_look_alike(place, role, one, other):
    assert different(place, role, one, other) == {}


def test_the_walk_sees_a_leak(place):
    """Questions that show the machine's answer are no blind arm: them it tells apart."""
    Project.objects.filter(pk=place.project.pk).update(suggestion_policy={**POLICY, "start": "shown"})
    place.project.refresh_from_db()
    assert different(place, Role.ANNOTATOR, Arm.AUDIT, Arm.START, {"labeling-work"})
