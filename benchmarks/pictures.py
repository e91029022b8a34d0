"""Pictures of every page for docs/pictures: the demo on a temporary site, in light and dark, wide and narrow.

`make pictures` needs Chromium and what the tests need. Only what is on the screen without scrolling.
"""

import argparse
import base64
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmarks.site import ROOT, Site

THEMES = ("light", "dark")
SIZES = {1280: 800, 360: 740}
MOST_BYTES = 60_000
_QUALITIES = (80, 65, 50, 30)
_PROJECT = "/p/demo-banking"

# name, who looks (a role of the demo; None: a visitor), address
PAGES: tuple[tuple[str, str | None, str], ...] = (
    ("sign-in", None, "/sign-in"),
    ("projects", "owner", "/"),
    ("overview", "owner", f"{_PROJECT}/"),
    ("label", "annotator", f"{_PROJECT}/label/"),
    ("label-keys", "annotator", f"{_PROJECT}/label/"),
    ("history", "annotator", f"{_PROJECT}/label/history"),
    ("guidelines", "annotator", f"{_PROJECT}/guidelines"),
    ("new-project", "owner", "/new"),
    ("settings", "owner", f"{_PROJECT}/settings/"),
    ("labels", "owner", f"{_PROJECT}/settings/labels"),
    ("guidelines-editor", "owner", f"{_PROJECT}/settings/guidelines"),
    ("import", "owner", f"{_PROJECT}/import/"),
    ("import-preview", "owner", f"{_PROJECT}/import/"),
    ("prelabel", "owner", f"{_PROJECT}/prelabel"),
    ("budget", "owner", f"{_PROJECT}/budget"),
    ("training", "owner", f"{_PROJECT}/training"),
    ("review", "owner", f"{_PROJECT}/review/"),
    ("items", "owner", f"{_PROJECT}/items/"),
    ("item", "owner", f"{_PROJECT}/items/"),
    ("connections", "owner", "/connections"),
    ("new-connection", "owner", "/connections/new"),
    ("profile", "owner", "/profile"),
    ("api", "owner", "/api/v1/docs"),
    ("skipped", "owner", f"{_PROJECT}/items/skipped"),
    ("flagged", "owner", f"{_PROJECT}/items/flagged"),
    ("quarantined", "owner", f"{_PROJECT}/items/quarantined"),
    ("people", "owner", f"{_PROJECT}/people"),
    ("exports", "owner", f"{_PROJECT}/exports"),
    ("runs", "owner", f"{_PROJECT}/runs"),
    ("run", "owner", f"{_PROJECT}/runs"),
    ("password", "owner", "/password"),
)
# As spreadsheets write it: a mark of its encoding, semicolons, a line break within a cell, a row with a cell too many.
_CSV = (
    '\ufeffNr;Question;Channel\r\n1;How do I get a second card?;chat\r\n2;"My card is stuck\nin the machine";phone\r\n'
    "3;Why was I charged twice?;chat;what?\r\n4;What is the exchange rate today?;mail\r\n"
).encode()
_READY = "#labeling[data-ready]:not([data-ready=''])"


def main() -> None:
    options = _parser().parse_args()
    if options.sessions:
        print(json.dumps(_sessions()))
        return
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("There is no Chromium: apt-get install chromium, or set CHROMIUM=/path.")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="goldloop-pictures-") as folder:
        site = Site(Path(folder))
        site.manage("migrate", "--verbosity", "0")
        _say("The demo runs …")
        site.manage("demo")
        sessions = json.loads(site.python("-m", "benchmarks.pictures", "--sessions"))
        with site.served():
            _take(site.url, sessions, path, options.out, options.only)
    total = sum(picture.stat().st_size for picture in options.out.glob("*.webp"))
    _say(f"{len(list(options.out.glob('*.webp')))} pictures in {options.out}, {total / 1e6:.1f} MB")


def _take(url: str, sessions: dict[str, str], chromium: str, out: Path, only: Collection[str]) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])

        def open_page(who: str | None, theme: str, width: int) -> Any:
            context = browser.new_context(
                base_url=url, viewport={"width": width, "height": SIZES[width]}, locale="en-GB", timezone_id="UTC"
            )
            cookies = [{"name": "theme", "value": theme, "url": url}]
            if who:
                cookies.append({"name": "sessionid", "value": sessions[who], "url": url})
            context.add_cookies(cookies)  # type: ignore[arg-type]
            return context.new_page()

        _work(open_page("annotator", "light", 1280), open_page("owner", "light", 1280))
        for name, who, address in PAGES:
            if only and name not in only:
                continue
            _say(name)
            for theme in THEMES:
                for width in SIZES:
                    page = open_page(who, theme, width)
                    page.goto(address)
                    _arrange(page, name)
                    _save(page, out / f"{name}-{theme}-{width}.webp")
                    page.context.close()
        browser.close()


def _work(annotator: Any, owner: Any) -> None:
    """Make what the pictures show: some answers, a skip, a flag with a comment, an export."""
    annotator.goto(f"{_PROJECT}/label/")
    for keys in ("1", "2", "F 3", "S 1", "4", "5"):
        annotator.wait_for_selector(_READY)
        before = annotator.get_attribute("#labeling", "data-ready")
        for key in keys.split():
            annotator.keyboard.press(key)
        annotator.wait_for_function(
            "(before) => document.querySelector('#labeling').dataset.ready !== before", arg=before
        )
    annotator.wait_for_function("() => !Object.keys(localStorage).some((key) => key.startsWith('goldloop.answer.'))")
    owner.goto(f"{_PROJECT}/exports")
    owner.get_by_role("button", name="Export", exact=True).click()
    owner.locator("a[download]").first.wait_for(timeout=120_000)


def _arrange(page: Any, name: str) -> None:
    """Bring the page into the state that the picture shows."""
    if name in ("label", "label-keys"):
        page.wait_for_selector(_READY)
    if name == "label-keys":
        page.keyboard.press("?")
    if name in ("run", "item"):
        page.locator("main th a, main td a, main p a[href*='/items/']").first.click()
        page.wait_for_load_state()
    if name == "import-preview":
        page.set_input_files("input[type=file]", {"name": "export.csv", "mimeType": "text/csv", "buffer": _CSV})
        page.locator("main form button:not([name])").first.click()
        page.wait_for_load_state()


def _save(page: Any, path: Path) -> None:
    """As good as fits into MOST_BYTES. WebP, which Playwright itself does not write, is half of a JPEG."""
    browser = page.context.new_cdp_session(page)
    for quality in _QUALITIES:
        picture = browser.send("Page.captureScreenshot", {"format": "webp", "quality": quality})
        path.write_bytes(base64.b64decode(picture["data"]))
        if path.stat().st_size <= MOST_BYTES:
            return


def _sessions() -> dict[str, str]:
    """Cookies of the demo's people by role; runs with the site's settings."""
    import django

    django.setup()
    from annotate.models import Member
    from benchmarks.site import session_cookie

    members = Member.objects.filter(project__slug="demo-banking", user__is_simulated=False).select_related("user")
    return {member.role: session_cookie(member.user) for member in members}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures", metavar="FOLDER")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="of a page, for instance budget")
    parser.add_argument("--sessions", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
