"""The page and its one question: which face does such a voice typically have?"""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from pathlib import Path
from string import Template
from typing import TypeVar

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from speech2face.app.answer import MAX_HEARD_S, Artist, Part, hear, join
from speech2face.app.guard import Guard
from speech2face.app.uploads import MAX_BYTES, RefusedError, Uploads, name_of
from speech2face.drawing.model import NOTE
from speech2face.pipeline.rejects import UnusableError, first_line

LINES = "application/x-ndjson"
PAGE = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
LEFT = 499
"""The status, which nobody sees, of a request whose client has left."""

T = TypeVar("T")


def make_app(artist: Artist, host: str, num_workers: int) -> Guard:
    """The app of a server that listens at `host`, an ASGI app. At most `num_workers` voices are worked on at a time, others wait."""
    question = _Question(artist, num_workers)
    routes = [Route("/face", question.answer, methods=["POST"])]
    routes += [Route(path, _file(name, kind, artist)) for path, (name, kind) in PAGE.items()]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _as_json}), host)


class _Question:
    """`POST /face` with a recording as its body: the answer of `Artist.draw` as JSON, or, where the request accepts `LINES`, its parts as
    they come, each a line of JSON. What goes wrong is JSON too: `error` is one line; of a recording that cannot be used, which has the
    status 422, `reason` is one of the pipeline's.
    """

    def __init__(self, artist: Artist, num_workers: int) -> None:
        self._artist = artist
        self._uploads = Uploads()
        self._workers = anyio.CapacityLimiter(num_workers)

    async def answer(self, request: Request) -> Response:
        try:
            async with self._uploads.received(request) as path:
                return await _unless_left(request, lambda: self._draw(request, path))
        except RefusedError as error:
            # What else of the body is on its way is not read.
            return JSONResponse({"error": str(error)}, error.status, {"Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=LEFT)

    async def _draw(self, request: Request, path: Path) -> Response:
        """The answer, of which the first part is ready."""
        try:
            voice = await self._work(lambda: hear(self._artist.model, path, anyio.from_thread.check_cancelled))
            parts = self._artist.draw(voice, anyio.from_thread.check_cancelled)
            if LINES not in request.headers.get("accept", ""):
                return JSONResponse(await self._work(lambda: join(parts)))
            first = await self._work(lambda: next(parts))
        except UnusableError as error:
            message = str(error).replace(str(path), name_of(request))
            return JSONResponse({"error": message, "reason": error.reason}, 422)
        except Exception as error:  # whatever it is, the server goes on
            return JSONResponse({"error": _complain(error)}, 500)

        async def lines() -> AsyncIterator[str]:
            part: Part | None = first
            while part is not None:
                yield json.dumps(part) + "\n"
                try:
                    part = await self._work(lambda: next(parts, None))
                except Exception as error:
                    part = None
                    yield json.dumps({"error": _complain(error)}) + "\n"

        return StreamingResponse(lines(), media_type=LINES)

    async def _work(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._workers)


async def _unless_left(request: Request, respond: Callable[[], Awaitable[Response]]) -> Response:
    """What `respond` gives. If the client leaves meanwhile, the work ends at its next check and leaves its place to others."""
    response = Response(status_code=LEFT)
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        response = await respond()
        group.cancel_scope.cancel()
    return response


def _complain(error: Exception) -> str:
    """Say on the terminal what nobody foresaw, without what the request was about; returns what the page says."""
    print(f"speech2face: error: {type(error).__name__}: {first_line(error)}", file=sys.stderr, flush=True)
    return f"the server failed ({type(error).__name__}); its terminal says more"


async def _as_json(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _file(name: str, kind: str, artist: Artist) -> Callable[[Request], Awaitable[Response]]:
    """Answers with a file of the page, whose numbers are filled in once."""
    text = resources.files("speech2face.app").joinpath("page", name).read_text("utf-8")
    if name == "index.html":
        text = Template(text).substitute(
            note=NOTE,
            segment_s=f"{artist.model.segment_s:g}",
            max_s=f"{MAX_HEARD_S:g}",
            max_mb=f"{MAX_BYTES / 1e6:g}",
        )

    async def give(request: Request) -> Response:
        return Response(text, media_type=kind)

    return give
