"""Pictures of every page of the demo on a temporary site: light on a wide screen, dark on a narrow one.

`make pictures` puts them into var/pictures, which git ignores, for whoever wants to look at every page.
`--readme` takes again only what README.md shows, into docs/pictures; nothing else lies there. Each shows what is on the
screen without scrolling. It needs Chromium and what the tests need.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.site import ROOT, Site

SHOWN = ROOT / "docs" / "pictures"
LOOKS = ("light-1280", "dark-360")  # theme and width of the screen
MOST_BYTES = 45_000
_HEIGHTS = {1280: 800, 360: 740}
_QUALITIES = (65, 50, 35, 25)
_PAGE_MS = 15_000  # the longest that a page may take for one step
_EXPORT_MS = 120_000
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
    out = SHOWN if options.readme else options.out
    names = readme_pictures() if options.readme else _pictures_of(options.only)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="goldloop-pictures-") as folder:
        site = Site(Path(folder))
        site.manage("migrate", "--verbosity", "0")
        _say("The demo runs …")
        site.manage("demo")
        sessions = json.loads(site.python("-m", "benchmarks.pictures", "--sessions"))
        with site.served():
            _take(site.url, sessions, path, [out / name for name in names])
    _say(f"{len(names)} pictures in {out}, {sum((out / name).stat().st_size for name in names) / 1e6:.2f} MB")


def readme_pictures() -> list[str]:
    """File names of the pictures that README.md shows, in its order."""
    return re.findall(r"\(docs/pictures/([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))


def _pictures_of(only: list[str]) -> list[str]:
    """File names of the pictures of these pages; of all pages where none is named."""
    if unknown := set(only) - {page[0] for page in PAGES}:
        raise SystemExit(f"No such page: {', '.join(sorted(unknown))}")
    return [f"{name}-{look}.webp" for name, _, _ in PAGES for look in LOOKS if not only or name in only]


def _take(url: str, sessions: dict[str, str], chromium: str, paths: Iterable[Path]) -> None:
    from playwright.sync_api import sync_playwright

    pages = {name: (who, address) for name, who, address in PAGES}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])

        def open_page(who: str | None, theme: str, width: int) -> Any:
            viewport = {"width": width, "height": _HEIGHTS[width]}
            context = browser.new_context(
                base_url=url, viewport=viewport, locale="en-GB", timezone_id="UTC", reduced_motion="reduce"
            )
            context.set_default_timeout(_PAGE_MS)
            cookies = [{"name": "theme", "value": theme, "url": url}]
            if who:
                cookies.append({"name": "sessionid", "value": sessions[who], "url": url})
            context.add_cookies(cookies)  # type: ignore[arg-type]
            return context.new_page()

        _work(open_page("annotator", "light", 1280), open_page("owner", "light", 1280))
        for path in paths:
            _say(path.stem)
            name, theme, width = path.stem.rsplit("-", 2)
            who, address = pages[name]
            page = open_page(who, theme, int(width))
            page.goto(address)
            _arrange(page, name)
            _save(page, path)
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
    owner.locator("a[download]").first.wait_for(timeout=_EXPORT_MS)


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
    """As good as fits into MOST_BYTES. WebP is half of a JPEG."""
    for quality in _QUALITIES:
        page.screenshot(path=path, type="webp", quality=quality, animations="disabled")
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
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "pictures", metavar="FOLDER")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="of a page, for instance budget")
    parser.add_argument("--readme", action="store_true", help="take what README.md shows, into docs/pictures")
    parser.add_argument("--sessions", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
