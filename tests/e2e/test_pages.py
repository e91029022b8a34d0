"""Every page in a real browser: nobody is shut out, nothing overflows, nothing complains, in light and dark."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from annotate.web.urls import urlpatterns
from tests.e2e.conftest import Browsing, prepared
from tests.e2e.in_page import settled, within

THEMES = ("light", "dark")
NARROW = (320, 360)

# Who sees which page, by route; {} is filled with the project, {train} and the like with what prepare.py made.
OPEN = {
    "sign-in": "/sign-in",
    "password-forgotten": "/forgotten-password",
    "invitation-accept": "/invitation/{invitation}",
    "password-reset": "/new-password/{reset}",
}
EVERYBODY = {
    "projects-list": "/",
    "password-change": "/password",
    "profile-show": "/profile",
    "guidelines-show": "/p/{project}/guidelines",
}
ANNOTATORS = EVERYBODY | {"labeling-work": "/p/{project}/label/", "labeling-history": "/p/{project}/label/history"}
OWNERS = ANNOTATORS | {
    "overview-show": "/p/{project}/",
    "review-list": "/p/{project}/review/",
    "items-list": "/p/{project}/items/",
    "items-skipped": "/p/{project}/items/skipped",
    "items-flagged": "/p/{project}/items/flagged",
    "items-quarantined": "/p/{project}/items/quarantined",
    "people-list": "/p/{project}/people",
    "training-show": "/p/{project}/training",
    "budget-show": "/p/{project}/budget",
    "prelabel-show": "/p/{project}/prelabel",
    "imports-list": "/p/{project}/import/",
    "settings-show": "/p/{project}/settings/",
    "settings-labels": "/p/{project}/settings/labels",
    "settings-guidelines": "/p/{project}/settings/guidelines",
    "exports-list": "/p/{project}/exports",
    "runs-list": "/p/{project}/runs",
}
RICH_ONLY = {
    "people-hand-over": "/p/rich/people/{heir}/hand-over",
    "address-prove": "/prove-address/{proof}",
    "projects-create": "/new",
    "settings-guidelines-version": "/p/rich/settings/guidelines/2",
    "runs-show": "/p/rich/runs/{train}",
    "runs-show errored": "/p/rich/runs/{errored}",
    "runs-show running": "/p/rich/runs/{running}",
    "labeling-work empty": "/p/empty/label/?empty",
    "review-list waiting": "/p/disputed/review/",
    "review-list decided": "/p/disputed/review/?show=decided",
    "review-show": "/p/disputed/review/{dispute}",
    "items-show": "/p/rich/items/{item}",
    "items-correct": "/p/rich/items/{item}/correct",
    "imports-preview": "/p/rich/import/{upload}/",
    "imports-preview unreadable": "/p/rich/import/{unreadable}/",
    "imports-list unfinished": "/p/disputed/import/",
    "error": "/p/no-such-project/",
}
PAID = {
    "budget-show full": "/p/paid/budget",
    "budget-show chosen": "/p/paid/budget?state=written_off",
    "prelabel-show paid": "/p/paid/prelabel?look=4",
}
SITE_OWNERS = {
    "accounts-list": "/accounts",
    "accounts-show": "/accounts/{owner}",
    "accounts-show deactivated": "/accounts/{gone}",
    "connections-list": "/connections",
    "connections-create": "/connections/new",
    "connections-show": "/connections/{connection}",
}
# Not pages: what changes something, files, and what machines ask.
ACTIONS = {
    "healthz", "readyz", "sign-out", "theme-set", "labeling-next", "labeling-submit", "labeling-change",
    "labeling-renew", "labeling-again",
    "labeling-release", "labeling-draft", "labeling-reveal", "labeling-why", "people-invite", "people-set",
    "settings-labels-undo",
    "markdown-preview", "settings-annotator", "people-release", "people-password", "sessions-end", "token-create",
    "token-revoke", "address-send", "address-change", "invitation-send", "invitation-link",
    "accounts-vouch", "accounts-deactivate", "accounts-reactivate", "accounts-hand-over", "mails-send",
    "people-remove", "review-decide", "items-withdraw", "items-bring-back",
    "invitation-revoke", "exports-download", "runs-start", "budget-cap", "budget-stop", "budget-resume",
    "runs-pause", "runs-resume", "runs-cancel", "runs-retry",
    "imports-upload", "imports-go-on", "imports-give-up", "imports-start", "imports-discard", "imports-quarantine",
    "imports-count",
    "prelabel-spent", "prelabel-choose", "connections-test", "connections-lend", "connections-switch",
}  # fmt: skip
VISITS = [  # each page once, the annotating screen in all its shapes
    *((None, name, path, "") for name, path in OPEN.items()),
    *(("ann", name, path, "rich") for name, path in ANNOTATORS.items()),
    *(("ann", "labeling-work", ANNOTATORS["labeling-work"], project) for project in ("pairs", "many-labels")),
    *(("olga", name, path, "rich") for name, path in OWNERS.items() if name not in ANNOTATORS),
    ("olga", "overview-show", OWNERS["overview-show"], "empty"),
    *(("olga", name, path, "") for name, path in (RICH_ONLY | PAID).items()),
    *(("sara", name, path, "") for name, path in SITE_OWNERS.items()),
]
AGAIN = [  # as others see them, and where there is nothing
    ("ann", "guidelines-show", EVERYBODY["guidelines-show"], "many-labels"),
    *(("olga", name, path, "rich") for name, path in ANNOTATORS.items() if name != "password-change"),
    *(("olga", name, path, "empty") for name, path in OWNERS.items() if name not in {*EVERYBODY, "overview-show"}),
]


def _id(who: str | None, name: str, path: str, project: str) -> str:
    return " ".join(filter(None, (who or "visitor", name, project)))


_CASES = [
    *(pytest.param(*visit, id=_id(*visit)) for visit in VISITS),
    *(pytest.param(*visit, id=_id(*visit), marks=pytest.mark.slow) for visit in AGAIN),
]

OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  const all = [...document.querySelectorAll("body *")];
  const scrolls = (one) => one && one !== document.body && (
    /auto|scroll|hidden|clip/.test(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
  const wide = all.filter((one) => one.getBoundingClientRect().right > width + 0.5 && !scrolls(one.parentElement));
  return [document.documentElement.scrollWidth - width,
    wide.slice(0, 3).map((one) => one.outerHTML.slice(0, 120))];
}"""
DARK = "() => { document.documentElement.dataset.theme = 'goldloop-dark'; }"
# Labels that reach beyond their button, or go on in a new line where there is no joint.
SPILT = """() => {
  const range = document.createRange();
  const breaks = (part) => {
    range.selectNodeContents(part);
    return part.nodeType === Node.TEXT_NODE && range.getClientRects().length > 1;
  };
  const isSpilt = (button) => {
    const name = button.querySelector(".choice-name");
    const [outer, inner] = [button, name].map((one) => one.getBoundingClientRect());
    return inner.top < outer.top || inner.bottom > outer.bottom || inner.right > outer.right
      || [...name.childNodes].some(breaks);
  };
  return [...document.querySelectorAll(".choices .choice")].filter(isSpilt).map((one) => one.textContent.trim());
}"""
# A control by what it is, because a fragment that renews itself brings new elements.
NAME = """(one) => [one.localName, one.name ?? "", one.getAttribute("href") ?? one.value ?? "",
  one.textContent.trim().replace(/\\s+/g, " ").slice(0, 60)].join(" ")"""
CONTROLS = f"""() => {{
  const all = document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary");
  const seen = [...all].filter((one) => !one.disabled && one.tabIndex >= 0 && !one.closest("[inert]")
    && one.checkVisibility({{ visibilityProperty: true, contentVisibilityAuto: true }}));
  return seen.filter((one) => one.type !== "radio" || one.checked).map({NAME});
}}"""
FOCUS = f"""() => {{
  const one = document.activeElement;
  if (one === document.body) return null;
  const isRinged = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const shell = one.closest("label, .input") ?? one; // a field may show it on what is around it
  return [({NAME})(one), [one, shell].some((each) => isRinged(getComputedStyle(each)))];
}}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, Any]]]:
    with prepared(tmp_path_factory.mktemp("site"), "pages") as found:
        yield found


@pytest.fixture
def visit(chromium: Browser, site: tuple[Any, dict[str, Any]], browsing: Browsing):  # type: ignore[no-untyped-def]
    """Opens a page as somebody, in a theme and at a width; without motion, so that every colour is the final one."""
    server, made = site

    def visit(who: str | None, path: str, project: str = "", theme: str = "light", **options: Any) -> Page:
        if path == RICH_ONLY["error"]:
            browsing.expect("404")
        if path == RICH_ONLY["imports-preview unreadable"]:
            browsing.expect("422")
        options.setdefault("reduced_motion", "reduce")
        page = browsing.open(server.url, made["sessions"][who] if who else None, **options)
        page.context.add_cookies([{"name": "theme", "value": theme, "url": server.url}])
        page.goto(path.format(project=project, invitation=made["invitation"], reset=made["reset"], **made["runs"]))
        return page

    return visit


def test_every_route_is_a_page_here_or_an_action() -> None:
    known = {name.split()[0] for name in OPEN | OWNERS | RICH_ONLY | SITE_OWNERS} - {"error"} | ACTIONS
    assert {pattern.name for pattern in urlpatterns} == known


@pytest.mark.parametrize("who, name, path, project", _CASES)
def test_a_page_shuts_nobody_out(visit, axe, who, name, path, project):
    """In one visit, because a visit costs more than its checks."""
    page = visit(who, path, project)
    wrong = [*accessibility(page, axe), *overflow(page), *keyboard(page)]
    if page.locator("h1").count() != 1:
        wrong.append(f"{page.locator('h1').count()} headings of the first level")
    if "owned" in page.title():
        wrong.append("a script in a text was run")
    page.evaluate(DARK)
    settled(page)
    wrong += (f"dark: {text}" for text in accessibility(page, axe, "color-contrast"))
    assert not wrong, "\n".join(wrong)


def accessibility(page: Page, axe: str, *rules: str) -> list[str]:
    """What axe calls serious or critical, by all of its rules or by these."""
    if page.evaluate("typeof axe === 'undefined'"):
        page.evaluate(axe)
    only = {"runOnly": list(rules)} if rules else {}
    report = within(page, "(how) => axe.run(document, how)", {"resultTypes": ["violations"], **only}, seconds=60)
    grave = (one for one in report["violations"] if one["impact"] in ("serious", "critical"))
    return [
        f"{one['id']}: {node['html'][:150]}: {node['failureSummary'][:300]}"
        for one in grave
        for node in one["nodes"][:3]
    ]


def overflow(page: Page) -> list[str]:
    """Where the page scrolls sideways."""
    wrong, usual = [], page.viewport_size
    for width in NARROW:
        page.set_viewport_size({"width": width, "height": 640})
        beyond, widest = page.evaluate(OVERFLOW)
        if beyond > 0:
            wrong.append(f"{beyond} px beyond {width}: {widest}")
    assert usual is not None
    page.set_viewport_size(usual)
    return wrong


def keyboard(page: Page) -> list[str]:
    """Controls that Tab does not reach, or that do not show that they have the focus."""
    wanted = set(page.evaluate(CONTROLS))
    reached, unseen = set[str](), set[str]()
    for _ in range(2 * len(wanted) + 10):  # a page may begin in the middle: round once
        page.keyboard.press("Tab")
        if focus := page.evaluate(FOCUS):
            name, is_seen = focus
            reached.add(name)
            unseen |= set() if is_seen else {name}
        if wanted <= reached:
            break
    missed = [f"Tab does not reach {name}" for name in sorted(wanted - reached)]
    return missed + [f"focus is not seen on {name}" for name in sorted(unseen)]


class TestSmallScreens:
    @pytest.mark.parametrize("width", [320, 360, 1280])
    @pytest.mark.parametrize("project", ["rich", "many-labels"])
    def test_names_of_labels_stay_in_their_buttons_and_break_at_joints(self, visit, project, width):
        page = visit("ann", f"/p/{project}/label/", viewport={"width": width, "height": 740})
        assert page.evaluate(SPILT) == []

    def test_the_present_tab_is_in_sight(self, visit):
        page = visit("olga", "/p/rich/runs", viewport={"width": 320, "height": 640})
        page.wait_for_function("""() => {
          const [bar, tab] = ["header nav", "header nav [aria-current]"].map((one) =>
            document.querySelector(one).getBoundingClientRect());
          return tab.left >= bar.left && tab.right <= bar.right && bar.right <= innerWidth;
        }""")
        assert page.evaluate("scrollY") == 0


class TestRenewal:
    def test_a_run_that_renews_itself_keeps_the_focus(self, visit, site):
        page = visit("olga", "/p/rich/runs")
        link = page.locator(f"#run-{site[1]['runs']['running']} a")
        link.evaluate("(one) => { one.focus(); one.isOld = true; }")
        page.wait_for_function("() => document.activeElement.localName === 'a' && !document.activeElement.isOld")
        assert link.evaluate("(one) => one === document.activeElement")


class TestMotion:
    @pytest.mark.parametrize("path", ["/p/rich/label/", "/p/rich/"])
    def test_nothing_moves_for_those_who_asked_for_that(self, visit, path):
        page = visit("olga", path, reduced_motion="reduce")
        moving = page.evaluate("""() => [...document.querySelectorAll("*")].filter((one) => {
            const style = getComputedStyle(one);
            const longest = (list) => Math.max(...list.split(",").map(parseFloat));
            return longest(style.transitionDuration) > 0.05
              || (style.animationName !== "none" && longest(style.animationDuration) > 0.05);
          }).slice(0, 5).map((one) => one.outerHTML.slice(0, 120))""")
        assert moving == []


class TestTheme:
    @pytest.mark.parametrize("system, dark", [("light", False), ("dark", True)])
    def test_without_a_choice_the_system_decides(self, visit, system, dark):
        page = visit(None, "/sign-in", theme="auto", color_scheme=system)
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == ("dark" if dark else "light")

    def test_the_choice_is_kept(self, visit, site):
        page = visit("ann", "/p/rich/guidelines")
        page.locator("header summary").click()
        page.get_by_role("button", name="Dark").click()
        page.wait_for_load_state()
        page.reload()
        assert page.locator("html").get_attribute("data-theme") == "goldloop-dark"
