"""Fundamental frequency of voices, per clip of 6 s: ours, torchaudio's and Praat's, of synthetic speakers whose pitch is known.

    python benchmarks/pitch.py [SPEAKERS]

Processor time, because other work on the machine changes it little. torch has one thread. Errors are of the median over a clip, in
percent of the pitch that the speaker was given; an octave error is one of more than half an octave. Rooms, noise and words are the
corpus's own.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import parselmouth
import torch
import torchaudio

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from speech2face.audio.spectrogram import SAMPLE_RATE_HZ
from speech2face.evaluation.voices import F0_RANGE_HZ, VOICED, fundamental_frequency
from speech2face.synthetic.speakers import draw_speaker, draw_video
from speech2face.synthetic.voices import synthesise

LOW_HZ, HIGH_HZ = F0_RANGE_HZ


def ours(waveform: np.ndarray) -> float:
    f0_hz, periodicity = fundamental_frequency(torch.from_numpy(waveform))
    return float(f0_hz[periodicity >= VOICED].median())


def with_torchaudio(waveform: np.ndarray) -> float:
    f0_hz = torchaudio.functional.detect_pitch_frequency(
        torch.from_numpy(waveform), SAMPLE_RATE_HZ, freq_low=LOW_HZ, freq_high=HIGH_HZ
    )
    return float(f0_hz.median())


def with_praat(waveform: np.ndarray) -> float:
    sound = parselmouth.Sound(waveform.astype(np.float64), SAMPLE_RATE_HZ)
    f0_hz = sound.to_pitch_ac(0.01, LOW_HZ, pitch_ceiling=HIGH_HZ).selected_array["frequency"]
    return float(np.median(f0_hz[f0_hz > 0]))


def main(num_speakers: int) -> None:
    torch.set_num_threads(1)
    speakers = [draw_speaker(0, index) for index in range(num_speakers)]
    clips = [synthesise(speaker, draw_video(0, index, 0), 6.0) for index, speaker in enumerate(speakers)]
    true_hz = np.array([speaker.f0_hz for speaker in speakers])
    methods: dict[str, Callable[[np.ndarray], float]] = {
        "ours": ours,
        "torchaudio, detect_pitch_frequency": with_torchaudio,
        "Praat, autocorrelation": with_praat,
    }
    print(f"{num_speakers} clips of 6 s, torch {torch.__version__}, one thread")
    for name, method in methods.items():
        method(clips[0])
        started = time.process_time()
        found_hz = np.array([method(clip) for clip in clips])
        clip_ms = 1000 * (time.process_time() - started) / num_speakers
        error, octave = np.abs(np.log(found_hz / true_hz)), np.abs(np.log2(found_hz / true_hz)) > 0.5
        print(
            f"  {name:36s} {clip_ms:7.2f} ms  median error {100 * np.median(error):5.2f} %  "
            f"nine in ten below {100 * np.quantile(error, 0.9):6.2f} %  {octave.sum():3d} octave errors"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speakers", nargs="?", type=int, default=100)
    main(parser.parse_args().speakers)
