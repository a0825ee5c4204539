"""How much of a waveform is speech: Silero's voice activity detector, whose network comes with its package."""

import functools
from threading import Lock
from typing import Any

import numpy as np
import torch

from speech2face.audio.spectrogram import SAMPLE_RATE_HZ

SPEECH_PROBABILITY = 0.5  # the detector's own threshold
_ONE_AT_A_TIME = Lock()


def speech_fraction(waveform: np.ndarray) -> float:
    """Part (0..1) of the 32 ms windows of float32 [T], 16 kHz, that are more likely speech than not."""
    detector = load_detector()
    with _ONE_AT_A_TIME, torch.inference_mode():  # it remembers what it has heard of a waveform
        probabilities = detector.audio_forward(torch.from_numpy(waveform)[None], SAMPLE_RATE_HZ)
    return float((probabilities >= SPEECH_PROBABILITY).float().mean())


@functools.lru_cache(maxsize=1)
def load_detector() -> Any:
    """The detector, loaded once a process. Raises ImportError where its package is missing."""
    threads = torch.get_num_threads()  # the package sets it to 1 for the whole process
    import onnxruntime  # noqa: F401 - the detector runs on it, so its version counts
    from silero_vad import load_silero_vad  # type: ignore[import-untyped]

    torch.set_num_threads(threads)
    return load_silero_vad(onnx=True)
