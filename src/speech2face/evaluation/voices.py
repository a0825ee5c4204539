"""Simple descriptions of voices, from which the ridge baselines predict faces."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

from speech2face.audio.spectrogram import HOP_LENGTH, N_FFT, POWER, SAMPLE_RATE_HZ, WIN_LENGTH
from speech2face.audio.stored import spectrograms
from speech2face.audio.table import stored_column
from speech2face.pipeline import machine
from speech2face.pipeline.shards import read_columns, shards_in_order, to_numpy
from speech2face.training.pairs import Targets

F0_RANGE_HZ = (60, 400)
FFT_OF_F0 = 1024
"""Samples; at least 25 ms and the longest period, 668, so that nothing wraps around."""
ALMOST = 0.9
"""A peak of this part of the highest is taken for it."""
VOICED = 0.6
"""Periodicity from which a frame counts as voiced."""
SILENCE = 1e-9
"""Energy of 25 ms below which all is silent."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def describe_embeddings(table: Path, targets: Targets) -> pd.DataFrame:
    """Embeddings of the first segments of training and test clips that have a face (by `targets`), whole, float32, by clip_id."""
    rows = read_columns(table, ["clip_id", "speaker_id", "segment", "embedding"])
    clips, speakers = rows["clip_id"].to_pylist(), rows["speaker_id"].to_pylist()
    used = [
        i
        for i, (target, speaker, segment) in enumerate(
            zip(targets.rows(rows["clip_id"]), speakers, rows["segment"].to_pylist(), strict=True)
        )
        if segment == 0 and targets.splits[speaker] != "val" and target >= 0
    ]
    whole = to_numpy(rows["embedding"].take(used))[:, 0].astype(np.float32)
    return pd.DataFrame(whole, [clips[i] for i in used]).sort_index()


def describe_voices(directory: Path, targets: Targets) -> dict[str, pd.DataFrame]:
    """The mean spectrogram and the fundamental frequency of training and test clips of a spectrogram table that have a face (by
    `targets`), float32, by clip_id.

    mean_spectrogram: mean over time of the compressed magnitude in each of 257 bins; f0: quantiles of its logarithm.
    A clip of several segments is described by its first.
    """
    names: dict[str, None] = {}
    spectra, pitches = [], []
    with machine.threads() as pool:
        for path in shards_in_order(directory, "clip_id"):
            with pq.ParquetFile(path) as file:
                column = stored_column(file.schema_arrow)
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=["clip_id", "speaker_id", column])
                    rows = table["clip_id"].to_pylist(), table["speaker_id"].to_pylist(), to_numpy(table[column])
                    used: dict[str, torch.Tensor] = {}
                    for clip, speaker, stored, target in zip(*rows, targets.rows(table["clip_id"]), strict=True):
                        if targets.splits[speaker] != "val" and target >= 0 and clip not in names:
                            used.setdefault(clip, torch.from_numpy(stored))
                    names |= dict.fromkeys(used)
                    for spectrum, pitch in pool.map(_describe_stored, used.values()):
                        spectra.append(spectrum.astype(np.float32))
                        pitches.append(pitch.astype(np.float32))
    clips = list(names)
    return {
        "mean_spectrogram": pd.DataFrame(np.reshape(spectra, (len(clips), -1)), clips, copy=False),
        "f0": pd.DataFrame(np.reshape(pitches, (len(clips), -1)), clips, copy=False),
    }


def _describe_stored(segment: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    return describe_voice(spectrograms(segment[None], torch.device("cpu"))[0])


@torch.inference_mode()
def describe_voice(spectrogram: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean over time of a compressed spectrogram [2, 257, T] (float64 [257]), and quantiles of ln F0 in Hz (float64 [5]).

    F0 is that of the waveform that the spectrogram stands for, in its voiced frames.
    """
    spectrogram = spectrogram.float()
    magnitude = spectrogram.square().sum(0).sqrt()
    f0_hz, periodicity = fundamental_frequency(restore(spectrogram))
    voiced = periodicity >= min(VOICED, float(periodicity.max()))  # of noise alone, what is most like a voice
    quantiles = np.quantile(np.log(f0_hz[voiced].double().numpy()), QUANTILES)
    return magnitude.mean(1).double().numpy(), quantiles


def fundamental_frequency(waveform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """F0 of a waveform [N] of at least 42 ms, in Hz, every 10 ms, and how periodic it is there, -1 to 1 (float32 [frames] each).

    Where normalised cross-correlation, of 25 ms with what follows a period later, has the first peak that is almost its highest (Talkin
    1995, "A robust algorithm for pitch tracking"): two periods are as alike as one.
    """
    low, high = F0_RANGE_HZ
    least, most = SAMPLE_RATE_HZ // high, -(-SAMPLE_RATE_HZ // low)
    parts = waveform.unfold(0, WIN_LENGTH + most + 1, HOP_LENGTH)
    whole, start = (torch.fft.rfft(part, FFT_OF_F0) for part in (parts, parts[:, :WIN_LENGTH]))
    product = torch.fft.irfft(whole * start.conj(), FFT_OF_F0)[:, : most + 2]
    sums = torch.nn.functional.pad(parts.double().square().cumsum(1), (1, 0))
    energy = (sums[:, WIN_LENGTH:] - sums[:, : most + 2]).float()
    alike = product / (energy * energy[:, :1]).clamp(min=SILENCE**2).sqrt()
    before, here, after = (alike[:, least + step : most + 1 + step] for step in (-1, 0, 1))
    highest = here.amax(1, keepdim=True)
    peaks = (here >= before) & (here >= after) & (here >= ALMOST * highest)
    lag = torch.where(peaks.any(1), peaks.int().argmax(1), here.argmax(1))
    return SAMPLE_RATE_HZ / (lag + least).float(), here.gather(1, lag[:, None])[:, 0]


def restore(spectrogram: torch.Tensor) -> torch.Tensor:
    """The waveform [160 (T - 1)] that a compressed spectrogram [2, 257, T] stands for."""
    stft = spectrogram.sign() * spectrogram.abs() ** (1 / POWER)
    return torch.istft(torch.complex(stft[0], stft[1]), N_FFT, HOP_LENGTH, WIN_LENGTH, torch.hann_window(WIN_LENGTH))
