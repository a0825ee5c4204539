"""What every answer says to browsers, and which requests get none: those of other sites."""

from ipaddress import ip_address
from socket import gethostname
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = ("0.0.0.0", "::")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """An ASGI app whose answers carry `HEADERS`, and which refuses, with status 403, what another site asks for.

    A page anywhere may let a browser send requests to this machine, under the name of its own site (DNS rebinding) or under ours
    (cross-site request forgery). The first is seen by the Host header, the second by Origin and Sec-Fetch-Site, which no page can
    change. Programs send neither of the latter.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self._app
        if why := refusal(Headers(scope=scope), self._host):
            app = JSONResponse({"error": why}, 403)
        await app(scope, receive, send_with_headers)


def refusal(headers: Headers, host: str) -> str | None:
    """Why a request to the server of `host` is refused, None: it is not."""
    asked = headers.get("host", "")
    if not is_served(asked, host):
        return "this server does not answer to the name in the request's Host header"
    if headers.get("origin", f"http://{asked}") != f"http://{asked}":
        return "the request comes from another site"
    if (
        headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        and headers.get("sec-fetch-mode") != "navigate"
    ):
        return "the request comes from another site"
    return None


def is_served(asked: str, host: str) -> bool:
    """Whether a Host header names a server that listens at `host`. The port may be another's: of a tunnel to this one."""
    try:
        name = urlsplit(f"//{asked}").hostname
    except ValueError:
        return False
    if name is None:
        return False
    return name in (*LOOPBACK, host.lower()) or (host in ANY and (_is_address(name) or name == gethostname().lower()))


def _is_address(name: str) -> bool:
    """No other site's page can have an address of ours as its name."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
