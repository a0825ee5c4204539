"""What decoders give: runs of mono samples that know where in the recording they are."""

from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from speech2face.pipeline.rejects import UnusableError

Samples = npt.NDArray[np.float32]

AUDIBLE_RMS = 1e-4  # -80 dB full scale
# One channel of n by itself leaves a share of 1/n in the mean of all; a tenth of that takes channels that cancel.
CANCELLED_SHARE = 0.1


class Block(NamedTuple):
    """Samples float32 [T], mono, full scale -1..1, at `rate_hz`; `first` is the position of the first of them, counted from the
    start of the recording. `cancels`: whether the channels that they are the mean of cancel each other."""

    rate_hz: int
    first: int
    samples: Samples
    cancels: bool = False


def mixed(data: npt.NDArray[Any], rate_hz: int, first: int) -> Block:
    """[T, channels] of integers or floats, scaled to -1..1 and mixed: the mean of the channels."""
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what float32 does not hold becomes infinite, and is rejected as that
        scaled: Samples = data.astype(np.float32)
    if data.dtype == np.uint8:
        scaled = (scaled - np.float32(128)) / np.float32(128)
    elif data.dtype.kind == "i":
        scaled /= -float(np.iinfo(data.dtype).min)
    if data.shape[1] == 1:
        return Block(rate_hz, first, scaled[:, 0])
    with np.errstate(invalid="ignore", over="ignore"):
        mono = scaled.mean(1, dtype=np.float32)
        loudest = float(np.sqrt(np.einsum("tc,tc->c", scaled, scaled).max(initial=0) / max(1, len(scaled))))
        level = float(np.sqrt(np.dot(mono, mono) / max(1, len(mono))))
    cancels = loudest >= AUDIBLE_RMS and level < CANCELLED_SHARE * loudest / data.shape[1]
    return Block(rate_hz, first, mono, cancels)


class Deadline:
    """A limit to the time spent on one recording; time that passes between `pause` and `resume` does not count."""

    def __init__(self, path: Path, limit_s: float) -> None:
        self.limit_s = limit_s
        self._path = path
        self._spent_s = 0.0
        self._resumed = monotonic()

    def check(self) -> None:
        """Raise UnusableError with reason `timeout` if the limit is passed."""
        if self._spent_s + monotonic() - self._resumed > self.limit_s:
            raise UnusableError(
                "timeout",
                f"{self._path}: decoding took longer than {self.limit_s:g} s; re-encode it or raise the limit",
            )

    def pause(self) -> None:
        """Stop counting."""
        self._spent_s += monotonic() - self._resumed

    def resume(self) -> None:
        """Count on."""
        self._resumed = monotonic()
