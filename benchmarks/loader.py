"""The loader of the trainings: clips a second, memory as the table grows, and what it adds to an epoch.

    python benchmarks/loader.py [--stored spectrogram waveform] [--clips 512] [--frames 601] [--rows 20000] [--rounds 3] [--device cpu]
                                [--base-channels 8]

Tables of noise, of either of what `audio.stored` names, are written to a temporary folder and read from the system's cache. Front end:
spectrograms of a batch of 8 that was read, whole and as the crop of params.yaml, on the device. Clips a second: one epoch in batches of 8,
the loader alone, against the plain way, in which the caller reads, takes and stacks. Memory: how long it takes, and the peak, until a
table of `--rows` clips of one frame and one of ten times as many are ready, and the epoch's first batch is there; each in its own process.
Epoch: the steps of an epoch of the published encoder as params.yaml has it, read from the table, against the same on batches that are in
memory. Ways to do a thing take turns, and the shortest time of each counts. Processor time is that of all threads, and tells more than the
clock where other work runs on the machine.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from speech2face.audio.spectrogram import HOP_LENGTH  # noqa: E402
from speech2face.audio.stored import Crop, spectrograms  # noqa: E402
from speech2face.audio.table import STORED, spectrograms_schema, stored_column, waveforms_schema  # noqa: E402
from speech2face.face_networks.table import features_schema  # noqa: E402
from speech2face.models.face_decoder import FaceDecoder  # noqa: E402
from speech2face.models.head import LinearHead  # noqa: E402
from speech2face.pipeline.machine import keep_memory  # noqa: E402
from speech2face.pipeline.params import load_params  # noqa: E402
from speech2face.pipeline.shards import shard_paths, to_numpy, write_shard  # noqa: E402
from speech2face.training.encoder import EncoderInputs, encoder_task  # noqa: E402
from speech2face.training.loop import State, Task, steps  # noqa: E402
from speech2face.training.pairs import GROUPS_IN_BUFFER, Pairs, read_targets  # noqa: E402

BATCH, DIM, CLIPS_PER_VIDEO, VIDEOS_PER_SPEAKER, CLIPS_PER_SHARD = 8, 128, 2, 4, 256

READY = """
import json, resource, sys, time
from pathlib import Path
from speech2face.training.pairs import Pairs, read_targets
folder, splits = json.loads(sys.stdin.read())
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
pairs = Pairs(Path(folder) / "spectrograms", read_targets(Path(folder) / "features", splits), "train")
batch = next(pairs.shuffled(8, 0, 0))
seconds, peak = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(seconds, before / 1024, peak / 1024)
"""


def write_tables(folder: Path, clips: int, frames: int, stored: str = "spectrogram") -> Mapping[str, str]:
    """Tables of segments and features with one face a clip; returns the speakers' splits, one in ten val."""
    rng = np.random.default_rng(0)
    if stored == "waveform":
        samples = HOP_LENGTH * (frames - 1)
        schema, noise = waveforms_schema(samples), rng.integers(-9999, 9999, (CLIPS_PER_SHARD, samples), np.int16)
    else:
        schema = spectrograms_schema(frames)
        noise = rng.standard_normal((CLIPS_PER_SHARD, 2, 257, frames), np.float32).astype(np.float16)
    splits: dict[str, str] = {}
    for start in range(0, clips, CLIPS_PER_SHARD):
        heard, faces = [], []
        for number in range(start, min(start + CLIPS_PER_SHARD, clips)):
            video = number // CLIPS_PER_VIDEO
            speaker = f"id{video // VIDEOS_PER_SPEAKER:05d}"
            splits[speaker] = "val" if len(splits) % 10 == 1 and speaker not in splits else splits.get(speaker, "train")
            clip = f"{speaker}/v{video:08d}/{number % CLIPS_PER_VIDEO:05d}"
            common = {"clip_id": clip, "speaker_id": speaker}
            times = {"segment": 0, "start_s": 0.0, "duration_s": 6.0}
            heard.append(common | times | {stored: noise[number - start]})
            faces.append(common | {"face_id": clip, "feature": rng.standard_normal(DIM, np.float32)})
        name = f"shard-{start:012d}.parquet"
        write_shard(folder / "spectrograms" / name, heard, schema, {})
        write_shard(folder / "features" / name, faces, features_schema(DIM), {})
    return splits


def plain(directory: Path) -> Iterator[torch.Tensor]:
    """Row groups in random order, mixed as the loader mixes them, each read, copied and stacked when it is needed."""
    rng = np.random.default_rng(0)
    places = [
        (path, group) for path in shard_paths(directory) for group in range(pq.read_metadata(path).num_row_groups)
    ]
    column = stored_column(pq.read_schema(places[0][0]))
    order = rng.permutation(len(places))
    for start in range(0, len(order), GROUPS_IN_BUFFER):
        clips: list[np.ndarray] = []
        for path, group in (places[i] for i in order[start : start + GROUPS_IN_BUFFER]):
            table = pq.ParquetFile(path).read_row_group(group, columns=["clip_id", "speaker_id", column])
            clips += list(to_numpy(table.take(list(range(len(table))))[column]))
        mixed = rng.permutation(len(clips))
        for first in range(0, len(mixed) - BATCH + 1, BATCH):
            yield torch.from_numpy(np.stack([clips[i] for i in mixed[first : first + BATCH]]))


def shortest(rounds: int, **ways: Callable[[], Any]) -> dict[str, tuple[float, float]]:
    """Shortest time and shortest processor time of each way, in seconds; they take turns."""
    found = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(rounds):
        for name, way in ways.items():
            started, used = time.perf_counter(), time.process_time()
            way()
            now = time.perf_counter() - started, time.process_time() - used
            found[name] = min(found[name][0], now[0]), min(found[name][1], now[1])
    return found


def clips_a_second(folder: Path, splits: Mapping[str, str], rounds: int) -> None:
    every = dict.fromkeys(splits, "train")
    whole = Pairs(folder / "spectrograms", read_targets(folder / "features", every), "train")
    found = shortest(
        rounds,
        loader=lambda: [None for _ in whole.shuffled(BATCH, 0, 0)],
        plain=lambda: [None for _ in plain(folder / "spectrograms")],
    )
    for name, (seconds, used) in found.items():
        print(
            f"{name}: {len(whole) / seconds:,.0f} clips a second, {len(whole) / used:,.0f} a second of processor time"
        )


def front_end(task: Task, rounds: int, device: torch.device) -> None:
    """Time of `spectrograms` a clip, and of the step's crop."""
    batch, frames = next(iter(task.batches(0))).heard, load_params(ROOT / "params.yaml").encoder.crop_frames
    assert frames is not None
    crop = Crop(torch.arange(len(batch)), frames)

    def compute(part: Crop | None) -> Callable[[], None]:
        def run() -> None:
            for _ in range(10):
                spectrograms(batch, device, part)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return run

    found = shortest(rounds, whole=compute(None), crop=compute(crop))
    for name, (seconds, used) in found.items():
        per_clip = [1000 * value / (10 * len(batch)) for value in (seconds, used)]
        print(f"front end on {device}, {name}: {per_clip[0]:.2f} ms a clip, {per_clip[1]:.2f} ms of processor time")


def memory(clips: int) -> None:
    for rows in (clips, 10 * clips):
        with tempfile.TemporaryDirectory() as folder:
            request = json.dumps([folder, write_tables(Path(folder), rows, 1)])
            command = [sys.executable, "-c", READY]
            environment = {"PYTHONPATH": str(ROOT / "src")}
            done = subprocess.run(
                command, input=request, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
        seconds, before, peak = map(float, done.stdout.split())
        print(f"{rows:,} clips: ready in {seconds:.1f} s, peak {peak:,.0f} MiB, of which libraries {before:,.0f} MiB")


def make_task(folder: Path, splits: Mapping[str, str], base_channels: int | None, device: torch.device) -> Task:
    params = load_params(ROOT / "params.yaml")
    settings = params.encoder
    if base_channels is not None:
        settings = settings.model_copy(update={"base_channels": base_channels})
    targets = read_targets(folder / "features", splits)
    inputs = EncoderInputs(folder / "spectrograms", targets, FaceDecoder(DIM).f_dec, LinearHead(DIM, len(splits)))
    return encoder_task(settings, params.lr, 0, inputs, device)


def epoch(task: Task, rounds: int, device: torch.device) -> None:
    in_memory = list(task.batches(0))

    def train(batches: Callable[..., Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in steps(dataclasses.replace(task, batches=batches), State(), 0):
                pass
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return run

    found = shortest(rounds, loader=train(task.batches), memory=train(lambda *_: in_memory))
    print(f"epoch of {task.num_batches} steps on {device}:")
    for i, kind in enumerate(("seconds", "seconds of processor time")):
        loader, memory = found["loader"][i], found["memory"][i]
        print(f"  {loader:.2f} {kind}, on batches in memory {memory:.2f}: {loader / memory - 1:+.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", nargs="+", choices=STORED, default=STORED[:1])
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--frames", type=int, default=601)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--base-channels", type=int)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    keep_memory()
    for stored in arguments.stored:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            splits = write_tables(folder, arguments.clips, arguments.frames, stored)
            size = sum(path.stat().st_size for path in shard_paths(folder / "spectrograms"))
            print(f"{stored}: {size / arguments.clips / 1e6:.3f} MB a clip")
            clips_a_second(folder, splits, arguments.rounds)
            task = make_task(folder, splits, arguments.base_channels, device)
            front_end(task, arguments.rounds, device)
            epoch(task, arguments.rounds, device)
    if arguments.rows:
        memory(arguments.rows)


if __name__ == "__main__":
    main()
