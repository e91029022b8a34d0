"""The guards of tests/e2e/conftest.py can fail."""

import pytest

from tests.e2e.in_page import within
from tests.factories import make_user

NOWHERE = "http://127.0.0.1:9999"


def broken(browsing, script):
    page = browsing.open(NOWHERE)
    page.route(
        "**/*",
        lambda route: route.fulfill(
            body=f"<!doctype html><title>x</title>{script}",
            content_type="text/html",
            headers={"Content-Security-Policy": "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'"},
        ),
    )
    page.goto("/")
    for _ in range(100):
        if not browsing.complaints:
            page.wait_for_timeout(100)  # only while Playwright waits does it tell what it has heard


@pytest.mark.parametrize(
    "script, told",
    [
        ("<script>console.error('ouch')</script>", "ouch"),
        ("<script>throw new Error('ouch')</script>", "ouch"),
        ("<p style='color:red'>", "CSP refused"),
        ("<img src='https://elsewhere.example/x.png'>", "CSP refused"),
    ],
)
def test_a_page_that_complains_fails_its_test(browsing, script, told):
    broken(browsing, script)
    with pytest.raises(AssertionError, match=told):
        browsing.check()


def test_a_request_that_fails_fails_its_test(browsing):
    page = browsing.open(NOWHERE)
    page.route("**/*", lambda route: route.fulfill(body="<!doctype html><title>x</title>", content_type="text/html"))
    page.goto("/")
    page.unroute_all()
    within(page, "() => fetch('/').catch(() => 0)")
    with pytest.raises(AssertionError, match="request failed"):
        browsing.check()


def test_page_for_is_signed_in(page_for, browsing):
    page = page_for(make_user("Ann"))
    browsing.expect("404")
    page.goto("/p/no-such-project/")  # a visitor would be asked to sign in
    assert page.url.endswith("/p/no-such-project/")
