"""Headless Chromium for the tests that are run by name: it is Debian's `chromium`, driven by the package `playwright`."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
BROKEN = "[...document.images].filter(i => !i.complete || i.naturalWidth === 0).map(i => i.alt)"
SPILLED = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.wide')
    && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 80))"""


@contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """A browser, with options of its command line."""
    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *options])


def watched(page: Page) -> tuple[list[str], list[str]]:
    """The addresses that a page asks for from now on, but data within it, and what its console complains of."""
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: None if request.url.startswith("data:") else requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return requests, complaints
