"""Front end, per clip of 6 s: ours against vectorised librosa and against a Python loop over time-frequency bins.

    python benchmarks/audio.py [CLIPS]

Processor time, because other work on the machine changes it little. torch has one thread. Medians over clips of 5 to 9 s (16-bit wav
at 16 kHz as in VoxCeleb1, already in the file cache). Parquet is the fastest of five shards of 32 clips.
"""

import argparse
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from speech2face.audio.reading import read_audio
from speech2face.audio.segments import fit_length
from speech2face.audio.spectrogram import POWER, SAMPLE_RATE_HZ, compress, stft

SEGMENT_S = 6.0
NUM_SAMPLES = round(SEGMENT_S * SAMPLE_RATE_HZ)


def write_clip(path: Path, seed: int) -> None:
    """Noise with roughly the spectrum and the pauses of speech, 5 to 9 s; its content does not change the time."""
    rng = np.random.default_rng(seed)
    num_samples = int(rng.uniform(5, 9) * SAMPLE_RATE_HZ)
    samples = np.cumsum(rng.standard_normal(num_samples)) % 1 - 0.5
    samples *= np.abs(np.sin(2 * np.pi * 2 * np.arange(num_samples) / SAMPLE_RATE_HZ))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, num_samples, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def ours(path: Path) -> np.ndarray:
    waveform = torch.from_numpy(fit_length(read_audio(path, max_duration_s=SEGMENT_S), NUM_SAMPLES))
    return compress(stft(waveform)).half().numpy()


def with_librosa(path: Path) -> np.ndarray:
    waveform, _ = librosa.load(path, sr=SAMPLE_RATE_HZ, duration=SEGMENT_S)
    spectrum = librosa.stft(
        np.resize(waveform, NUM_SAMPLES), n_fft=512, hop_length=160, win_length=400, pad_mode="reflect"
    )
    parts = np.stack([spectrum.real, spectrum.imag])
    return (np.sign(parts) * np.abs(parts) ** POWER).astype(np.float16)


def with_a_loop(path: Path) -> np.ndarray:
    waveform, _ = librosa.load(path, sr=SAMPLE_RATE_HZ, duration=SEGMENT_S)
    spectrum = librosa.stft(
        np.resize(waveform, NUM_SAMPLES), n_fft=512, hop_length=160, win_length=400, pad_mode="reflect"
    )
    result = np.zeros((2, *spectrum.shape), np.float16)
    for i in range(spectrum.shape[0]):
        for j in range(spectrum.shape[1]):
            for k, x in enumerate((spectrum[i, j].real, spectrum[i, j].imag)):
                result[k, i, j] = np.sign(x) * abs(x) ** POWER
    return result


def median_ms(function: Callable[[Path], object], paths: list[Path]) -> float:
    function(paths[0])
    times = []
    for path in paths:
        start = time.process_time()
        function(path)
        times.append(time.process_time() - start)
    return 1000 * float(np.median(times))


def main(num_clips: int) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.wav" for i in range(num_clips)]
        for seed, path in enumerate(paths):
            write_clip(path, seed)
        difference = np.abs(ours(paths[0]).astype(np.float32) - with_librosa(paths[0])).max()

        waveform = torch.from_numpy(fit_length(read_audio(paths[0]), NUM_SAMPLES))
        spectrum = stft(waveform)

        def write_shard() -> float:
            start = time.process_time()
            spectrograms = np.stack([ours(path) for path in paths[:32]])
            table = pa.table({"spectrogram": pa.FixedShapeTensorArray.from_numpy_ndarray(spectrograms)})
            shard = Path(folder) / "shard.parquet"
            pq.write_table(table, shard, compression="none", use_dictionary=False, write_statistics=False)
            return 1000 * (time.process_time() - start) / len(spectrograms)

        written_ms = min(write_shard() for _ in range(5))
        reading_ms = median_ms(lambda path: read_audio(path, max_duration_s=SEGMENT_S), paths)
        stft_ms = median_ms(lambda path: stft(waveform), paths)
        compress_ms = median_ms(lambda path: compress(spectrum), paths)
        ours_ms = median_ms(ours, paths)
        librosa_ms = median_ms(with_librosa, paths)
        loop_ms = median_ms(with_a_loop, paths[:3])

    print(
        f"{num_clips} clips of {SEGMENT_S:g} s, torch threads: {torch.get_num_threads()}, versions: torch {torch.__version__}, "
        f"librosa {librosa.__version__}; largest difference from librosa after float16 {difference:.1e}"
    )
    print(f"  reading {reading_ms:.2f} ms, stft {stft_ms:.2f} ms, power law {compress_ms:.2f} ms")
    for name, value_ms in (
        ("ours, to float16", ours_ms),
        ("ours, to float16 and to Parquet", written_ms),
        ("librosa, to float16", librosa_ms),
        ("librosa and a Python loop over bins", loop_ms),
    ):
        print(
            f"  {name:40s} {value_ms:9.2f} ms  {1000 * SEGMENT_S / value_ms:8.0f} x real time  {value_ms / ours_ms:7.1f} x ours"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="?", type=int, default=100)
    main(parser.parse_args().clips)
