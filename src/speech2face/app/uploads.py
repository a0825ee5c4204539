"""Uploads: bounded in size and time, held in memory, and gone with the request."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO
from urllib.parse import unquote

import anyio
from starlette.requests import Request

from speech2face.pipeline.rejects import escaped

MAX_BYTES = 50_000_000
MAX_BYTES_TOGETHER = 400_000_000
MAX_UPLOADS = 32
RECEIVE_LIMIT_S = 60.0
LONGEST_NAME = 80
NAME_HEADER = "x-file-name"


class RefusedError(Exception):
    """A request that is not answered: the HTTP status and one line that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Uploads:
    """The uploads of all requests: at most `MAX_UPLOADS` at a time, and `MAX_BYTES_TOGETHER` of them."""

    def __init__(self) -> None:
        self._num_uploads = self._num_bytes = 0

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[Path]:
        """The body of a request as a file, while the context lasts.

        Raises RefusedError with status 413 (too large, of which no more is read), 408 (too slow) or 503 (too many at once), and
        starlette's ClientDisconnect.
        """
        stated = request.headers.get("content-length", "0")
        if not stated.isdecimal() or int(stated) > MAX_BYTES:
            raise _too_large()
        if self._num_uploads >= MAX_UPLOADS:
            raise _busy()
        self._num_uploads += 1
        num_bytes = 0
        try:
            with _memory_file() as (file, path):
                try:
                    with anyio.fail_after(RECEIVE_LIMIT_S):
                        async for chunk in request.stream():
                            num_bytes += len(chunk)
                            self._num_bytes += len(chunk)
                            if num_bytes > MAX_BYTES:
                                raise _too_large()
                            if self._num_bytes > MAX_BYTES_TOGETHER:
                                raise _busy()
                            file.write(chunk)
                except TimeoutError:
                    raise RefusedError(408, f"the upload took longer than {RECEIVE_LIMIT_S:g} s; try again") from None
                file.flush()
                yield path
        finally:
            self._num_uploads -= 1
            self._num_bytes -= num_bytes


def name_of(request: Request) -> str:
    """What messages call an upload: the last part of the name that it has where it comes from, on one line; the header holds it
    percent-encoded."""
    name = unquote(request.headers.get(NAME_HEADER, "")).replace("\\", "/").rpartition("/")[2].strip()
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 9]}…{name[-8:]}"
    return escaped(name) or "the recording"


def _too_large() -> RefusedError:
    return RefusedError(413, f"an upload may have {MAX_BYTES / 1e6:g} MB; cut it, or save it as mp3, m4a or webm")


def _busy() -> RefusedError:
    return RefusedError(503, "too many recordings at once; try again in a moment")


@contextmanager
def _memory_file() -> Iterator[tuple[IO[bytes], Path]]:
    """A file that has a path and lies in memory; where the system has none (it is Linux's), a temporary file, which is deleted."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("voice"), "wb") as file:
            yield file, Path(f"/proc/self/fd/{file.fileno()}")
    else:
        with NamedTemporaryFile() as file:
            yield file, Path(file.name)
