"""The report in headless Chromium: run by name, `pytest tests/evaluation/browser_report.py`, as it needs more than Python does.

Needs Debian's `chromium` and the package `playwright`; its own browsers are not needed.
"""

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
BROKEN = "[...document.images].filter(i => !i.complete || i.naturalWidth === 0).map(i => i.alt)"
HIDDEN = "[...document.querySelectorAll('section')].filter(s => s.getBoundingClientRect().height < 40).map(s => s.id)"
SPILLED = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.wide')
    && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def report(evaluated):
    return evaluated("plain").out / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.mark.parametrize("width_px", [1280, 390, 320])
def test_opens_from_disk_whole(report, browser, width_px):
    page = browser.new_context(offline=True, viewport={"width": width_px, "height": 800}).new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report.as_uri())
    page.wait_for_load_state("networkidle")
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert complaints == []
    assert page.evaluate("document.images.length") > 20
    assert page.evaluate(BROKEN) == []
    assert page.evaluate(HIDDEN) == []
    assert page.evaluate(SPILLED) == []  # wide tables scroll by themselves, the page does not
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    for link in page.locator("nav a").all():
        assert page.locator(str(link.get_attribute("href"))).count() == 1


def test_every_picture_has_an_alternative(report, browser):
    page = browser.new_page()
    page.goto(report.as_uri())
    assert page.evaluate("[...document.images].filter(i => i.alt.length < 20).length") == 0
