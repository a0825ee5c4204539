"""What decoders give: runs of mono samples that know where in the recording they are."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from speech2face.pipeline.rejects import UnusableError

Samples = npt.NDArray[np.float32]

AUDIBLE_RMS = 1e-4  # -80 dB full scale
# One channel of n by itself leaves a share of 1/n in the mean of all; a tenth of that takes channels that cancel.
CANCELLED_SHARE = 0.1

LARGEST_LOST_PART = 0.05
PADDING_S = 0.2


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


def missing_at_end(stated: int, found: int, rate_hz: int) -> int:
    """Samples by which a recording is shorter than its header states; 0 where that is no more than an encoder's padding."""
    missing = stated - found
    return missing if missing > PADDING_S * rate_hz else 0


def judge_loss(path: Path, lost: int, total: int, rate_hz: int, cause: str) -> None:
    """Raise UnusableError with reason `unreadable` if more than a small part of `total` samples is `lost`."""
    if lost > LARGEST_LOST_PART * total:
        raise UnusableError(
            "unreadable",
            f"{path}: {lost / rate_hz:.2f} of {total / rate_hz:.2f} s are damaged or missing, "
            f"{LARGEST_LOST_PART:.0%} are passed over ({cause}); copy it again",
        )
