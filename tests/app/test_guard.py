"""Who gets an answer, and what each answer says to browsers."""

import pytest
from starlette.datastructures import Headers

from speech2face.app.guard import HEADERS, is_served, refusal
from tests.app.serving import ask

PROGRAM = {"host": "127.0.0.1:8000"}
PAGE = PROGRAM | {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}


@pytest.mark.parametrize(
    "headers",
    [
        PROGRAM,
        PAGE,
        PROGRAM | {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},  # typed
        PROGRAM | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},  # a link
        {"host": "localhost:9000", "origin": "http://localhost:9000"},  # through a tunnel
    ],
)
def test_programs_and_the_page_itself_are_answered(headers: dict[str, str]):
    assert refusal(Headers(headers), "127.0.0.1") is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "["},
        {"host": "evil.example:8000"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "evil.example", "origin": "http://evil.example"},
        PAGE | {"origin": "http://evil.example"},
        PAGE | {"origin": "http://127.0.0.1:3000"},
        PAGE | {"origin": "https://127.0.0.1:8000"},
        PAGE | {"origin": "null"},
        PROGRAM | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        PROGRAM | {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        PROGRAM | {"origin": "http://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
def test_other_sites_are_refused(headers: dict[str, str]):
    assert refusal(Headers(headers), "127.0.0.1") is not None


def test_a_server_open_to_others_answers_to_addresses_but_to_no_name():
    assert is_served("192.168.1.7:8000", "0.0.0.0") and is_served("[fe80::1]:8000", "::")
    assert not is_served("evil.example", "0.0.0.0")
    assert not is_served("192.168.1.7", "127.0.0.1")
    assert is_served("box.local:8000", "box.local") and is_served("localhost", "box.local")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/", None, {}, 200),
        ("/style.css", None, {}, 200),
        ("/page.js", None, {}, 200),
        ("/face", None, {}, 405),
        ("/face", b"no sound", {}, 422),
        ("/docs", None, {}, 404),
        ("/../cli.py", None, {}, 404),
        ("/", None, {"Host": "evil.example"}, 403),
        ("/face", b"x", {"Origin": "http://evil.example"}, 403),
    ],
)
def test_every_answer_carries_the_headers(port: int, path: str, body: bytes | None, headers: dict, status: int):
    reply = ask(port, body, path=path, **headers)
    assert reply.status == status
    assert {name: reply.headers[name.lower()] for name in HEADERS} == HEADERS
    assert "server" not in reply.headers
    if status != 200:
        assert list(reply.json) == ["error"] or set(reply.json) == {"error", "reason"}
        assert "\n" not in reply.json["error"]


def test_the_policy_lets_the_page_load_nothing_from_elsewhere():
    rules = dict(rule.strip().split(" ", 1) for rule in HEADERS["Content-Security-Policy"].split(";"))
    assert rules.pop("img-src") == "'self' data:"
    assert set(rules.values()) == {"'self'", "'none'"} and rules["default-src"] == "'none'"
