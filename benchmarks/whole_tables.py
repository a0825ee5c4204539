"""Time and memory of what looks at whole tables in one process, for some speakers and for ten times as many.

    python benchmarks/whole_tables.py [SPEAKERS]

The decoder's canonical faces, their near neighbours and an epoch of its batches, and the linear head; two photographs of each speaker.
Memory is the greatest resident memory of a process of its own, less what it had before: its own (anonymous), and pages of files, which
the system takes back when it needs them.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from tests.training.tables import feature_row
from tests.training.test_canonical import face, grid_shape

from speech2face.face_networks.table import features_schema
from speech2face.faces.table import FACES
from speech2face.models import head
from speech2face.pipeline.params import Frontal
from speech2face.pipeline.shards import write_shard
from speech2face.training.canonical import CanonicalFaces, canonical_faces
from speech2face.training.decoder import DecoderData
from speech2face.training.morphs import nearest_neighbours

FRONTAL = Frontal(max_yaw_deg=20.0, max_mouth_opening=0.25, min_sharpness=0.0)
PHOTOGRAPHS, PER_SHARD, BATCH, FEATURES = 2, 1000, 8, 128
FITS = 3  # iterations of the head's fit, which take as much memory as a thousand


class Watch:
    """Time and memory of what is done with it."""

    def __init__(self, name: str) -> None:
        self.name, self.peak, self.done = name, [0, 0], False

    def __enter__(self) -> None:
        self.before, self.used = _resident(), time.process_time()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self) -> None:
        while not self.done:
            self.peak = list(map(max, self.peak, _resident()))
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self.done = True
        self.thread.join()
        own, files = (max(0, peak - before) // 1024 for peak, before in zip(self.peak, self.before, strict=True))
        print(f"  {self.name}: {time.process_time() - self.used:.1f} s, {own} MiB, files {files} MiB", flush=True)


def _resident() -> list[int]:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [int(lines[name].split()[0]) for name in ("RssAnon", "RssFile")]


def write_tables(folder: Path, num_speakers: int) -> None:
    rng = np.random.default_rng(0)
    photograph = face("x", 0, grid_shape(), None)
    ids = [(f"s{s:06d}", n) for s in range(num_speakers) for n in range(PHOTOGRAPHS)]
    for start in range(0, len(ids), PER_SHARD):
        part, name = ids[start : start + PER_SHARD], f"shard-{start:07d}.parquet"
        write_shard(folder / "faces" / name, (_photograph(photograph, rng, *one) for one in part), FACES, {})
        rows = (feature_row(f"{speaker}/v/{n}", rng.normal(size=FEATURES)) for speaker, n in part)
        write_shard(folder / "features" / name, rows, features_schema(FEATURES), {})


def _photograph(photograph: dict, rng: np.random.Generator, speaker: str, number: int) -> dict:
    landmarks = (photograph["landmarks"] + rng.normal(0, 1, (68, 2))).astype(np.float32)
    names = {"face_id": f"{speaker}/v/{number}", "clip_id": f"{speaker}/v/0", "speaker_id": speaker}
    return photograph | names | {"landmarks": landmarks}


def measure(folder: Path, num_speakers: int) -> None:
    torch.set_num_threads(1)
    splits = {f"s{s:06d}": "train" for s in range(num_speakers)}
    with Watch("canonical faces"):
        faces = canonical_faces(folder / "faces", splits, FRONTAL)
    with Watch("near neighbours"):
        neighbours = nearest_neighbours(faces.landmarks, faces.textures, faces.masks, 5)
    with Watch("an epoch of batches"):
        for _ in _batches(faces, neighbours):
            pass
    head.MAX_ITERATIONS = FITS
    with Watch("linear head"):
        head.fit_head_of_table(folder / "features", splits, 1e-5)


def _batches(faces: CanonicalFaces, neighbours: np.ndarray) -> Iterator[object]:
    data = DecoderData(faces, np.arange(len(faces.landmarks)), np.zeros((len(faces.landmarks), FEATURES), np.float32))
    rng = np.random.default_rng(0)
    order = rng.permutation(len(data))
    for start in range(0, len(order), BATCH):
        first = order[start : start + BATCH]
        yield data.blend(first, neighbours[first, 0], rng.uniform(size=len(first)), torch.device("cpu"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speakers", nargs="?", type=int, default=500)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        measure(arguments.folder, arguments.speakers)
        return
    for times in (1, 10):
        with tempfile.TemporaryDirectory() as folder:
            write_tables(Path(folder), arguments.speakers * times)
            print(f"{arguments.speakers * times} speakers", flush=True)
            command = [sys.executable, "-W", "ignore", __file__, str(arguments.speakers * times), "--in", folder]
            subprocess.run(command, cwd=folder, check=True)


if __name__ == "__main__":
    main()
