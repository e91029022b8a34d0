"""A real Chromium. A page that complains fails its test: console, exceptions, failed requests, CSP violations."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, sync_playwright

from benchmarks.site import Site, session_cookie
from tests import databases

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
_TELL_CSP = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP refused ${event.blockedURI} (${event.violatedDirective}) ${event.sample}`));
"""


def chromium_path() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser per file: Playwright's event loop in this thread must not outlive the tests that know of it."""
    path = chromium_path()
    if path is None:
        sentence = "There is no Chromium (apt-get install chromium, or CHROMIUM=/path): browser tests are left out."
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"{sentence} REQUIRE_BROWSER=1 forbids that.")
        pytest.skip(sentence)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Django sees Playwright's loop and takes every test here for asynchronous.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Browsing:
    """Opens browser contexts and keeps what their pages complain of."""

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def open(self, url: str, cookie: str | None = None, **options: Any) -> Page:
        """A page in a context of its own, signed in where a session cookie is given; paths are relative to `url`."""
        options = {"base_url": url, "locale": "en-GB", "timezone_id": "UTC", **options}
        context = self.browser.new_context(**options)
        context.set_default_timeout(15_000)
        context.add_init_script(_TELL_CSP)
        if cookie:
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": url}])
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.complaints.append(f"exception: {error.error}"))
        context.on("requestfailed", self._on_failed)
        context.on("response", self._on_response)
        self._contexts.append(context)
        return context.new_page()

    def expect(self, pattern: str) -> None:
        """This test provokes complaints that match."""
        self.expected.append(pattern)

    def check(self) -> None:
        """AssertionError with everything that was not expected."""
        left = [text for text in self.complaints if not any(re.search(one, text) for one in self.expected)]
        self.complaints.clear()
        if left:
            raise AssertionError("The page complained:\n" + "\n".join(left))

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            where = message.location.get("url", "")
            self.complaints.append(f"console {message.type}: {message.text} ({where})")

    def _on_failed(self, request: Request) -> None:
        # A page that is left takes its requests with it.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 500:
            self.complaints.append(f"answer {response.status}: {response.request.method} {response.url}")


@pytest.fixture
def browsing(chromium: Browser) -> Iterator[Browsing]:
    """Fails the test at its end when a page complained."""
    one = Browsing(chromium)
    try:
        yield one
    finally:
        one.close()
    one.check()


@pytest.fixture
def page_for(
    transactional_db: None, events_can_be_flushed: None, live_server: Any, browsing: Browsing
) -> Callable[..., Page]:
    """A page in a browser where this user of the test database has signed in; None: a visitor."""

    def page_for(user: AbstractBaseUser | None, **options: Any) -> Page:
        return browsing.open(live_server.url, session_cookie(user) if user else None, **options)

    return page_for


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility rules as a script."""
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@contextmanager
def prepared(folder: Path, what: str) -> Iterator[tuple[Site, dict[str, Any]]]:
    """A served site with the projects of tests/e2e/prepare.py, and what that said of them."""
    if chromium_path() is None:  # the tests are left out: no need to work for them
        yield Site(folder), {}
        return
    # Pages show all that a site with mail has; nothing listens there.
    mail = {"EMAIL_URL": "smtp://127.0.0.1:9", "EMAIL_FROM": "labels@example.org"} if what == "pages" else {}
    site = Site(folder, **mail)
    databases.copy_to(site.database)
    made = json.loads(site.python("-m", "tests.e2e.prepare", what))
    with site.served():
        yield site, made
