"""Videos written here, whose frames show their number."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE_HZ = 25
SIZE_PX = (64, 48)  # width, height


def numbered(number: int) -> np.ndarray:
    """A grey frame, lighter with each number, from 16 in steps of 2."""
    return np.full((SIZE_PX[1], SIZE_PX[0], 3), 16 + 2 * number, np.uint8)


def number_of(image: np.ndarray) -> float:
    """The number that a frame shows."""
    return float((image.mean() - 16) / 2)


def write_video(
    path: Path,
    frames: int | Iterable[np.ndarray],
    gop: int = 10,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    picture: Callable[[int], np.ndarray] = numbered,
    rate_hz: int = RATE_HZ,
    tags: dict[str, str] | None = None,
) -> Path:
    """A video without sound, a key frame every `gop` frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = map(picture, range(frames)) if isinstance(frames, int) else frames
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(tags or {})
        stream = None
        for number, image in enumerate(images):
            if stream is None:
                stream = container.add_stream(codec, rate=rate_hz)
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.gop_size = gop
                if codec == "libx264":
                    stream.options = {"preset": "ultrafast", "crf": "10", "sc_threshold": "0"}
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate_hz)
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode(None))
    return path
