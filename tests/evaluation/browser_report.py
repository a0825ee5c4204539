"""The report in headless Chromium: run by name, `pytest tests/evaluation/browser_report.py`, as it needs more than Python does.

Needs Debian's `chromium` and the package `playwright`; its own browsers are not needed.
"""

import pytest

from tests.browser import BROKEN, SPILLED, chromium, watched

HIDDEN = "[...document.querySelectorAll('section')].filter(s => s.getBoundingClientRect().height < 40).map(s => s.id)"


@pytest.fixture(scope="module")
def report(evaluated):
    return evaluated("plain").out / "report.html"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.mark.parametrize("width_px", [1280, 390, 320])
def test_opens_from_disk_whole(report, browser, width_px):
    page = browser.new_context(offline=True, viewport={"width": width_px, "height": 800}).new_page()
    requests, complaints = watched(page)
    page.goto(report.as_uri())
    page.wait_for_load_state("networkidle")
    assert requests == [report.as_uri()]
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
