"""The whole stage segment_audio (decoding, spectrograms, Parquet) against the same with librosa, in one run.

    python benchmarks/segment_audio.py [number of clips] [--memory]

One process, one thread of torch, clips of 6 s, 16-bit wav at 16 kHz. Measured: processor time (user and system), because other work on
the machine changes it little, and wall clock time. The variants take turns for several rounds; the median counts. The variants with
librosa load, transform and compress a clip and write nothing.
With --memory: the stage's peak memory for 1,000 clips, 10,000 clips and one file of three hours, each in its own process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

CLIP_S = 6.0
RATE_HZ = 16_000
SETTINGS = {
    "segment_s": CLIP_S,
    "segments": "first",
    "stride_s": CLIP_S,
    "min_clip_s": 1.0,
    "min_speech_fraction": 0.0,
    "decode_limit_s": 60.0,
}
ROUNDS = 5
LOOPED = 2  # clips of a round that the Python loop takes

MEASURE = """
import json, resource, sys
from pathlib import Path
from speech2face.audio.extraction import recordings, segment_frames, spectrogram_shard
from speech2face.audio.table import spectrograms_schema
from speech2face.pipeline.engine import map_shards
from speech2face.pipeline.params import Segments
from speech2face.pipeline.plan import Plan
root, listed, settings = json.loads(sys.argv[1])
rows = sorted(json.loads(Path(listed).read_text()), key=lambda row: row["clip_id"])
schema = spectrograms_schema(segment_frames(6.0))
plan = Plan("segment_audio", spectrogram_shard, lambda: recordings(rows, 32), schema, Segments(**settings), {"root": root})
summary = map_shards(plan, None, 0)
print(summary.rows_out, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_wav(path: Path, duration_s: float, seed: int) -> None:
    """Noise in wav, a minute at a time."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        block = (
            np.random.default_rng(seed).normal(0, 2000, round(min(duration_s, 60) * RATE_HZ)).astype("<i2").tobytes()
        )
        for _ in range(max(1, round(duration_s / 60))):
            file.writeframesraw(block)


def clip_row(path: Path, number: int) -> dict:
    return {
        "clip_id": f"s{number // 50:04d}/v/{number:05d}",
        "speaker_id": f"s{number // 50:04d}",
        "audio_path": path.name,
        "audio_sha256": str(number),
        "audio_bytes": path.stat().st_size,
        "start_s": None,
        "end_s": None,
    }


def speed(num_clips: int) -> None:
    import librosa
    import torch

    from speech2face.audio.extraction import segment_frames, spectrogram_shard
    from speech2face.audio.table import spectrograms_schema
    from speech2face.pipeline.params import Segments
    from speech2face.pipeline.shards import write_shard

    torch.set_num_threads(1)
    settings = Segments(**SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = [root / f"{n}.wav" for n in range(num_clips)]
        for seed, path in enumerate(paths):
            write_wav(path, CLIP_S, seed)
        rows = [clip_row(path, n) for n, path in enumerate(paths)]
        schema = spectrograms_schema(segment_frames(CLIP_S))

        def stage(count: int) -> None:
            for start in range(0, count, 32):
                items = spectrogram_shard(rows[start : start + 32], settings, {"root": folder})
                write_shard(root / "out" / f"{start}.parquet", items, schema, {})

        def spectrum_of(path: Path) -> np.ndarray:
            waveform, _ = librosa.load(path, sr=RATE_HZ, duration=CLIP_S)
            return librosa.stft(waveform, n_fft=512, hop_length=160, win_length=400, pad_mode="reflect")

        def vectorised(count: int) -> None:
            for path in paths[:count]:
                spectrum = spectrum_of(path)
                parts = np.stack([spectrum.real, spectrum.imag])
                (np.sign(parts) * np.abs(parts) ** 0.3).astype(np.float16)

        def looped(count: int) -> None:
            for path in paths[:count]:
                spectrum = spectrum_of(path)
                result = np.zeros((2, *spectrum.shape), np.float16)
                for k in range(spectrum.shape[0]):  # a bin at a time
                    for part, values in enumerate((spectrum[k].real, spectrum[k].imag)):
                        for frame, x in enumerate(values):
                            result[part, k, frame] = np.sign(x) * abs(x) ** 0.3

        variants = {"stage": (stage, num_clips), "librosa": (vectorised, num_clips), "loop": (looped, LOOPED)}
        times: dict[str, list[float]] = {name: [] for name in variants}
        walls: dict[str, list[float]] = {name: [] for name in variants}
        for repeat in range(ROUNDS + 1):
            for name, (function, count) in variants.items():
                started = time.process_time(), time.perf_counter()
                function(count)
                if repeat:  # the first round warms up
                    times[name].append(1000 * (time.process_time() - started[0]) / count)
                    walls[name].append(1000 * (time.perf_counter() - started[1]) / count)
        ms = {name: float(np.median(values)) for name, values in times.items()}
    print(f"{num_clips} clips of {CLIP_S:g} s, {ROUNDS} rounds, one thread; processor ms a clip, median (range)")
    for name, label in (
        ("stage", "segment_audio with Parquet"),
        ("librosa", "librosa, vectorised"),
        ("loop", "librosa, loop"),
    ):
        spread = f"({min(times[name]):.2f} to {max(times[name]):.2f})"
        print(f"  {label:28} {ms[name]:8.2f}  {spread}, wall {np.median(walls[name]):.2f}")
    print(
        f"  {1000 * CLIP_S / ms['stage']:,.0f} times real time; {ms['librosa'] / ms['stage']:.2f} times as fast as librosa,"
    )
    print(f"  {ms['loop'] / ms['stage']:.0f} times as fast as the loop")


def memory() -> None:
    source = str(Path(__file__).parents[1] / "src")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(8):
            write_wav(root / f"{number}.wav", CLIP_S, number)
        write_wav(root / "long.wav", 3 * 3600, 0)
        many = [clip_row(root / f"{n % 8}.wav", n) for n in range(10_000)]
        cases = {
            "1,000 clips": (many[:1000], SETTINGS),
            "10,000 clips": (many, SETTINGS),
            "three hours, all segments": ([clip_row(root / "long.wav", 0)], SETTINGS | {"segments": "all"}),
        }
        for name, (rows, settings) in cases.items():
            listed = root / "rows.json"
            listed.write_text(json.dumps(rows))
            with tempfile.TemporaryDirectory() as work:
                environment = os.environ | {
                    "PYTHONPATH": source,
                    "DVC_ROOT": work,
                    "S2F_WORKERS": "1",
                    "OMP_NUM_THREADS": "1",
                }
                started = time.perf_counter()
                arguments = json.dumps([folder, str(listed), settings])
                command = [sys.executable, "-c", MEASURE, arguments]
                done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=True)
                rows_out, peak = done.stdout.split()
            print(f"{name:28} {rows_out:>6} rows  peak {float(peak):6.0f} MiB  {time.perf_counter() - started:6.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="?", type=int, default=192)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    if arguments.memory:
        memory()
    else:
        speed(arguments.clips)
