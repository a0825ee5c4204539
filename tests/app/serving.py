"""Small random networks, recordings in memory, and servers of them on loopback."""

import io
import json
import wave
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from speech2face.app.command import listen, server_of
from speech2face.audio.extraction import spectrogram
from speech2face.audio.segments import fit_length
from speech2face.drawing.model import Speech2Face
from speech2face.models.encoders import load_encoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import save_network
from tests import trained

RATE_HZ = 16_000
FULL_SCALE = 1 << 15
SPREAD = 0.5
HOST = "127.0.0.1"
LINES = "application/x-ndjson"


def save_models(root: Path, stretch: float | None = None) -> Path:
    """The small networks, whose faces here differ visibly from one `voice` to the next; returns `root`."""
    encoder = load_encoder(trained.save_models(root)).eval()
    assert isinstance(encoder, VoiceEncoder)
    with torch.no_grad():
        found = encoder(torch.stack([spectrogram(fit_length(voice(number), 6 * RATE_HZ)) for number in range(12)]))
        scale = SPREAD / (found - found.mean(0)).std()
        encoder.fc2.bias.sub_(found.mean(0)).mul_(scale)
        encoder.fc2.weight.mul_(scale)
    about: dict[str, Any] = {"segment_s": trained.SEGMENT_S}
    if stretch is not None:
        about |= {"history": [{"val/stretch": stretch}], "best_epoch": 0}
    save_network(encoder, root / "encoder" / "encoder", about, **trained.ENCODER)
    return root


def voice(number: int, seconds: float = 1.0) -> npt.NDArray[np.float32]:
    """A buzz and noise, float32 [T] at 16 kHz, unlike those of other numbers, and just as a file of 16 bits holds it."""
    rng = np.random.default_rng(number)
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * pitch * time) for pitch in rng.uniform(80, 4000, 5))
    sound = (0.1 * tones + rng.normal(0, 0.01 * (number + 1), len(time))).clip(-0.99, 0.99)
    return (np.round(sound * FULL_SCALE) / FULL_SCALE).astype(np.float32)


def wav(samples: npt.NDArray[np.float32]) -> bytes:
    """Samples [T] at 16 kHz as a 16-bit file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE_HZ, len(samples), "NONE", ""))
        writer.writeframes((samples * FULL_SCALE).astype("<i2").tobytes())
    return file.getvalue()


def picture(uri: str) -> npt.NDArray[np.int16]:
    """The picture in a data URI, [H, W, 3]."""
    kind, _, data = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(b64decode(data)))).astype(np.int16)


def same(first: Any, second: Any) -> bool:
    """Whether two pictures are the same but for rounding."""
    return int(np.abs(np.asarray(first).astype(np.int16) - np.asarray(second).astype(np.int16)).max()) <= 1


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, body: bytes | None = None, *, path: str = "/face", **headers: str) -> Reply:
    """The reply to a request, a POST if it has a body; underscores in the headers' names are hyphens."""
    with closing(HTTPConnection(HOST, port, timeout=60)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if body is None else "POST", path, body, named)
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


@contextmanager
def running(model: Speech2Face, num_workers: int = 2) -> Iterator[int]:
    """The port of a server in this process."""
    with listen(HOST, 0) as listener:
        server = server_of(model, HOST, num_workers)
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
