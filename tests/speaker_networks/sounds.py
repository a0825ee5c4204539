"""Sounds that change as speech does."""

import numpy as np


def voice(duration_s: float, pitch_hz: float = 120.0, seed: int = 0) -> np.ndarray:
    """Harmonics whose loudness and pitch wander, with noise; float32 [T] at 16 kHz, within -1..1."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * 16_000)) / 16_000
    pitch = pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 1.3 * time_s + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    loudness = rng.uniform(0.2, 1, 20)[:, None] * (1.2 + np.sin(2 * np.pi * rng.uniform(1, 5, 20)[:, None] * time_s))
    harmonics = loudness * np.sin(np.arange(1, 21)[:, None] * phase) / np.arange(1, 21)[:, None]
    sound = harmonics.sum(0) + 0.02 * rng.normal(size=len(time_s))
    return (0.9 * sound / np.abs(sound).max()).astype(np.float32)
