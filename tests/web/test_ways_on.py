"""No page is a dead end: a crawl of all pages, in each state of a project, as each of its people.

Every link answers, every page that a role may see is reached, and each has a way onward besides the navigation: a link
to another page or a form that the role may send. Nobody is told to do what their role may not do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client
from django.urls import resolve, reverse

from annotate.access import MAY
from annotate.models import Project
from annotate.reports import next_step, progress
from tests.web.project_states import STATES, make_state
from tests.web.site import all_routes
from tests.web.test_routes import NEEDS, PUBLIC

pytestmark = [pytest.mark.django_db, pytest.mark.portable, pytest.mark.usefixtures("keys_in_a_temporary_folder")]
ROLES = ("owner", "admin", "reviewer", "annotator", "viewer")
QUICK = "round_answered"  # the one state that every run of the tests crawls
_PARTS = {"prelabel-spent", "exports-download", "imports-quarantine", "api-docs"}  # parts of pages, and files
_MAILED = {"address-prove"}  # the way there is a link in a mail
_MOST_PAGES = 400


class Ways(HTMLParser):
    """Links of a page, and the ways onward in its main part: links outside <nav>, and actions of forms with POST."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.onward: set[str] = set()
        self.actions: set[str] = set()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("main", "nav"):
            self._open.append(tag)
        if tag == "a" and (href := given.get("href")):
            self.links.add(href)
            if self._open == ["main"]:
                self.onward.add(href)
        if tag == "form" and (given.get("method") or "").lower() == "post" and self._open == ["main"]:
            self.actions.add(given.get("action") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("main", "nav"):
            self._open.remove(tag)


def ways_of(html: str) -> Ways:
    ways = Ways()
    ways.feed(html)
    return ways


@dataclass
class Crawl:
    """What one person meets who follows every link."""

    client: Client
    role: str
    reached: set[str] = field(default_factory=set)  # names of routes
    faults: list[str] = field(default_factory=list)

    def from_home(self) -> "Crawl":
        waiting, seen = ["/"], {"/"}
        while waiting:
            for link in self._look(waiting.pop()):
                if link not in seen and len(seen) < _MOST_PAGES:
                    seen.add(link)
                    waiting.append(link)
        return self

    def _look(self, url: str) -> Iterator[str]:
        response = self.client.get(url, follow=True)
        here = response.redirect_chain[-1][0] if response.redirect_chain else url
        self.reached |= {resolve(urlsplit(url).path).url_name or "", resolve(urlsplit(here).path).url_name or ""}
        if response.status_code >= 400:
            self.faults.append(f"{url} answers {response.status_code}")
        elif "text/html" in response.headers["Content-Type"] and resolve(urlsplit(here).path).url_name != "api-docs":
            ways = ways_of(response.content.decode())
            self._judge(here, ways)
            yield from (link for href in sorted(ways.links) if (link := _own(href, here)))

    def _judge(self, url: str, ways: Ways) -> None:
        path = urlsplit(url).path
        others = {link for href in ways.onward if (link := _own(href, url)) and urlsplit(link).path != path}
        sendable = {action for action in ways.actions if self._may_send(_own(action, url) or url)}
        if not others and not sendable:
            self.faults.append(f"{url} has no way onward")
        self.faults += [f"{url} offers {action}" for action in ways.actions - sendable]

    def _may_send(self, url: str) -> bool:
        name = resolve(urlsplit(url).path).url_name or ""
        needs = NEEDS[name][0]
        return needs is None or self.role in MAY[needs]


def _own(href: str, page: str) -> str | None:
    """The address of a page of this site, without its fragment; None for another site, or no page at all."""
    parts = urlsplit(urljoin(page, href))
    if parts.scheme or parts.netloc or not parts.path:
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def pages_for(role: str) -> set[str]:
    """Names of pages that need nothing but a project, and that the role may see."""
    simple = {name for name, _, pattern in all_routes() if set(pattern.pattern.converters) <= {"slug"}} - _PARTS
    return {
        name
        for name in simple
        if (needs := NEEDS[name][0]) and "GET" in NEEDS[name][1] and role in MAY[needs] and name not in PUBLIC
    } - (set() if role in MAY["evidence"] else {"overview-show"})  # it leads them to the questions


def crawl(state: str, role: str, signed_in: Callable[..., Client]) -> Crawl:
    project, people = make_state(state)
    found = Crawl(signed_in(people[role]), role).from_home()
    found.faults += [f"{name} is not reached" for name in sorted(pages_for(role) - found.reached)]
    found.faults += told_too_much(project, role, found.client)
    return found


def told_too_much(project: Project, role: str, client: Client) -> Iterator[str]:
    """The next step, where the role may not take it and is not told who may."""
    if role not in MAY["evidence"]:
        return
    html = client.get(reverse("overview-show", args=[project.slug])).content.decode()
    needs = next_step.NEEDS[next_step.choose(project, progress.progress(project)).kind]
    if needs and role not in MAY[needs] and 'id="who-may"' not in html:
        yield "the overview says what the role may not do, and not who may"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "state", [QUICK, *(pytest.param(one, marks=pytest.mark.slow) for one in STATES if one != QUICK)]
)
def test_every_page_leads_on(state, role, signed_in):
    assert crawl(state, role, signed_in).faults == []


@pytest.mark.slow
def test_every_page_is_met_in_some_state(signed_in):
    reached: set[str] = set()
    for state in STATES:
        reached |= crawl(state, "owner", signed_in).reached
    pages = {name for name, (_, methods) in NEEDS.items() if "GET" in methods} - PUBLIC - _PARTS - _MAILED
    assert pages - reached == set()


class TestTheCrawl:
    def test_navigation_is_no_way_onward(self):
        html = '<a href="/a">a</a><main><nav><a href="/b">b</a></nav><form action="/c"></form></main>'
        ways = ways_of(html)
        assert (ways.links, ways.onward, ways.actions) == ({"/a", "/b"}, set(), set())

    def test_links_and_forms_are(self):
        ways = ways_of('<main><nav></nav><a href="/a">a</a><form method="post" action="/c"></form></main>')
        assert (ways.onward, ways.actions) == ({"/a"}, {"/c"})

    def test_it_tells_a_dead_end(self, rf):
        found = Crawl(Client(), "viewer")
        found._judge("/p/x/items/", ways_of('<main><a href="?page=2">on</a><a href="#top">up</a></main>'))
        assert found.faults == ["/p/x/items/ has no way onward"]

    def test_it_tells_a_form_that_the_role_may_not_send(self):
        found = Crawl(Client(), "viewer")
        found._judge(
            "/p/x/", ways_of('<main><a href="/">on</a><form method="post" action="/p/x/runs/start"></form></main>')
        )
        assert found.faults == ["/p/x/ offers /p/x/runs/start"]
