"""The command `serve`: the page on this machine, until Ctrl+C."""

import errno
import socket
import sys
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from speech2face.drawing.model import Speech2Face
from speech2face.pipeline import machine

if TYPE_CHECKING:
    import uvicorn

PACKAGES = ("starlette", "uvicorn")
OPEN_TO_OTHERS = (
    "voices travel to this server unencrypted, and browsers give a microphone only to pages from localhost or https; safer is a server on "
    "127.0.0.1 and, from elsewhere, ssh -L 8000:127.0.0.1:8000"
)
MAX_WORKERS = 4
MAX_CONNECTIONS = 128
SHUTDOWN_S = 3


def serve(models: Path, host: str, port: int, *, open_browser: bool = False) -> int:
    """Serve the page at `host` and `port` (0: any that is free) until Ctrl+C; returns the exit status.

    Raises ValueError or OSError, with the remedy, if packages or `models` are missing or the port is taken.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"the page needs {' and '.join(missing)}, and {'they are' if missing[1:] else 'it is'} not installed; run: make setup, or "
            "pip install -r requirements-app.txt"
        )
    with listen(host, port) as listener:
        # A voice is one thread's work, as in `predict`: several at once take no processor from each other.
        torch.set_num_threads(1)
        server = server_of(Speech2Face.load(models), host, min(MAX_WORKERS, machine.num_workers(on_device=True)))
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        if not is_loopback(host):
            print(f"speech2face: warning: {OPEN_TO_OTHERS}", file=sys.stderr)
        print(f"{address} shows the face that a voice typically has. Nothing is stored. Ctrl+C ends it.", flush=True)
        if open_browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    return 0


def server_of(model: Speech2Face, host: str, num_workers: int) -> "uvicorn.Server":
    """The server, which has drawn a face already so that the first voice does not wait; `run` it with a socket that listens."""
    import uvicorn

    from speech2face.app.answer import Artist
    from speech2face.app.server import make_app

    config = uvicorn.Config(
        make_app(Artist.of(model, num_workers), host, num_workers),
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        access_log=False,
        log_level="critical",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ValueError if it cannot."""
    if not 0 <= port <= 65535:
        raise ValueError(f"--port must be from 0 to 65535 (got {port})")
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family, backlog=MAX_CONNECTIONS)
    except socket.gaierror:
        raise ValueError(f"--host must be a name or an address of this machine (got {host!r})") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"port {port} of {host} is taken, perhaps by another `speech2face serve`; choose another with --port, 0 for any"
            ) from None
        raise ValueError(f"cannot listen at {host}, port {port}: {error.strerror}; choose others") from None


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a server that listens at `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
