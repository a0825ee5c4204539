"""The page in headless Chromium with a made-up microphone: run by name, `pytest tests/app/browser_page.py`.

Needs Debian's `chromium` and the package `playwright`. With S2F_SCREENSHOTS set to a folder, pictures of the page are left there.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from speech2face.app import server
from speech2face.app.answer import hear
from speech2face.drawing.model import NOTE, Speech2Face
from tests.app.serving import HOST, picture, running, save_models, voice, wav
from tests.browser import BROKEN, SPILLED, chromium, watched

FACE_S = 3.0
"""From the end of the recording to the first face, at most."""
DRAWN = "#stretch[max='6']"
NAMELESS = """[...document.querySelectorAll('button, input, a, img, [role=meter], [role=img]')].filter(e => !(e.ariaLabel || e.alt
    || e.textContent.trim() || [...e.labels || []].some(label => label.textContent.trim()))).map(e => e.outerHTML)"""
SMALL = """[...document.querySelectorAll('button, input, a, label.drop')].map(e => [e.id, e.getBoundingClientRect()])
    .filter(([, box]) => box.height && (box.height < 44 || box.width < 44)).map(([id]) => id)"""
IN_SIGHT = """id => { const box = document.getElementById(id).getBoundingClientRect();
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return box.top >= 0 && box.bottom <= innerHeight && top.closest('#' + id) !== null; }"""
CONTRASTS = """() => {
    const lightness = rgb => { const [r, g, b] = rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const behind = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return numbers(getComputedStyle(document.body).backgroundColor); };
    const texts = [...document.querySelectorAll('body *')].filter(e => e.getClientRects().length
        && [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()));
    return texts.map(e => { const [a, b] = [numbers(getComputedStyle(e).color).slice(0, 3), behind(e)].map(lightness).sort();
        return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 80)]; }).filter(([ratio]) => ratio < 4.5); }"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = Speech2Face.load(save_models(tmp_path_factory.mktemp("models"), stretch=2.5), "cpu")
    with running(model) as port:
        yield f"http://{HOST}:{port}/"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    said = tmp_path_factory.mktemp("microphone") / "said.wav"
    said.write_bytes(wav(voice(1, 6)))
    device = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with chromium(*device, f"--use-file-for-fake-audio-capture={said}") as found:
        yield found


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens the page in a window of some size."""
    contexts = []

    def open_page(width_px: int = 1280, height_px: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width_px, "height": height_px}, **options)
        contexts.append(context)
        page = context.new_page()
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


def shoot(page: Page, name: str) -> None:
    if folder := os.environ.get("S2F_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
        page.screenshot(path=Path(folder) / f"{name}_whole.png", full_page=True)


def record(page: Page, seconds: float) -> None:
    page.click("#record")
    page.wait_for_selector("body.recording")
    page.wait_for_timeout(1000 * seconds)
    page.click("#record")


def complaint(page: Page) -> str:
    page.wait_for_selector("#error:not([hidden])")
    return page.inner_text("#error")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width_px", "height_px"), [(1280, 800), (360, 640), (320, 568)])
def test_a_voice_is_recorded_and_its_face_appears(
    opened: Callable[..., Page], address: str, width_px: int, height_px: int, scheme: str
):
    page = opened(width_px, height_px, color_scheme=scheme, reduced_motion="reduce")
    requests, complaints = watched(page)
    page.click("#record")
    page.wait_for_timeout(3200)
    assert int(str(page.get_attribute("#level", "aria-valuenow"))) > 30
    assert 2.5 < float(page.inner_text("#seconds").split()[0]) < 6
    shoot(page, f"{width_px}_{scheme}_recording")
    page.click("#record")
    start = time.monotonic()
    page.wait_for_selector("#result:not([hidden])")
    assert time.monotonic() - start < FACE_S
    for name in ("note", "face", "mean"):  # beside each other, without scrolling
        assert page.evaluate(IN_SIGHT, name), name
    assert page.inner_text("#note") == NOTE
    page.wait_for_selector(DRAWN)
    shoot(page, f"{width_px}_{scheme}_face")
    assert [item.split()[0] for item in page.locator("#growing li").all_inner_texts()][:2] == ["1", "2"]
    assert page.evaluate(BROKEN) == [] == page.evaluate(SPILLED)
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    assert page.evaluate(NAMELESS) == [] == page.evaluate(SMALL)
    assert page.evaluate(CONTRASTS) == []
    assert set(requests) == {f"{address}face"} and complaints == []


def test_the_keyboard_alone_is_enough(opened: Callable[..., Page]):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "record"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("body.recording")
    assert page.inner_text("#status") == "Recording. Press Stop when you have spoken."
    page.wait_for_timeout(1500)
    page.keyboard.press("Space")
    page.wait_for_selector(DRAWN)
    assert page.evaluate("document.activeElement.id") == "result-title"
    assert page.inner_text("#status").startswith("The face is drawn from 1.")
    faces = [picture(str(page.get_attribute("#face", "src")))]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "stretch"
    assert page.get_attribute("#stretch", "aria-valuetext") == "1.0: as predicted"
    page.keyboard.press("End")
    assert page.get_attribute("#stretch", "aria-valuetext") == "2.5: as far as real faces are"
    faces.append(picture(str(page.get_attribute("#face", "src"))))
    page.keyboard.press("Home")
    assert page.inner_text("#stretch-text") == "0.0: the mean face"
    faces.append(picture(str(page.get_attribute("#face", "src"))))
    mean = picture(str(page.get_attribute("#mean", "src")))
    assert (faces[2] == mean).all()
    assert 0 < np.abs(faces[0] - mean).mean() < np.abs(faces[1] - mean).mean()


def test_a_file_is_taken_and_one_that_cannot_be_used_gets_its_reason(opened: Callable[..., Page]):
    page = opened(360, 640)
    for name, content, words in (
        ("short.wav", wav(voice(1, 0.2)), "short.wav: less than 1 s of sound; use a longer recording."),
        ("silent.wav", wav(np.zeros(32_000, np.float32)), "silent.wav: silent (nothing but zeros"),
        ("words.wav", b"These are words.", "words.wav: "),
    ):
        page.set_input_files("#file", {"name": name, "mimeType": "audio/wav", "buffer": content})
        page.wait_for_function("text => document.getElementById('error').textContent.includes(text)", arg=words)
        assert "\n" not in complaint(page)
    shoot(page, "360_light_error")
    page.set_input_files("#file", {"name": "good.wav", "mimeType": "audio/wav", "buffer": wav(voice(3, 2))})
    page.wait_for_selector(DRAWN)
    assert page.locator("#error").is_hidden()


def test_a_file_that_is_too_large_is_not_sent(opened: Callable[..., Page], tmp_path: Path):
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate(1_000_000_000)
    page = opened()
    requests, _ = watched(page)
    page.set_input_files("#file", large)
    assert complaint(page) == "large.wav: an upload may have 50 MB; cut it, or save it as mp3, m4a or webm."
    assert requests == []


def test_a_page_that_is_left_lets_go_of_the_microphone(opened: Callable[..., Page], monkeypatch: pytest.MonkeyPatch):
    heard = []
    monkeypatch.setattr(server, "hear", lambda *arguments: heard.append(1) or hear(*arguments))
    page = opened()
    page.click("#record")
    page.wait_for_selector("body.recording")
    page.evaluate("window.tracks = recording.stream.getTracks()")
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    assert page.evaluate("tracks.map(track => track.readyState)") == ["ended"]
    assert page.inner_text("#record") == "Record"
    assert page.inner_text("#status") == "The recording ended because the page was left. Nothing was sent."
    page.click("#record")
    page.wait_for_selector("body.recording")
    page.goto("about:blank")
    page.wait_for_timeout(500)
    assert heard == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "The browser may not use the microphone."),
        ("NotFoundError", "No microphone was found."),
        ("NotReadableError", "another program may hold it"),
        ("AbortError", "The microphone cannot be used (AbortError)."),
    ],
)
def test_without_a_microphone_a_sentence_says_what_to_do(opened: Callable[..., Page], error: str, words: str):
    page = opened(360, 640)
    page.evaluate(
        "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name)); }", error
    )
    page.click("#record")
    assert words in complaint(page) and "choose a file" in complaint(page).lower()
    assert page.evaluate(SPILLED) == []


def test_a_recording_ends_by_itself_at_the_limit(browser: Browser, address: str):
    page = browser.new_page()
    page.route(
        address, lambda route: route.fulfill(response=(r := route.fetch()), body=r.text().replace('s="60"', 's="2"'))
    )
    page.goto(address)
    page.click("#record")
    page.wait_for_selector(DRAWN, timeout=20_000)
    assert page.inner_text("#seconds") == "2.0 of 2 s"
    page.close()


def test_a_server_that_has_gone_is_a_sentence(opened: Callable[..., Page]):
    page = opened()
    page.context.set_offline(True)
    record(page, 1.2)
    assert complaint(page) == "The server does not answer. Is speech2face serve still running?"
