"""Time and memory of an evaluation of made-up predictions.

    PYTHONPATH=src python benchmarks/evaluation.py [--speakers 320] [--clips 5040] [--dim 512] [--decoded] [--results FILE]

VoxCeleb1's size is `--speakers 1251 --clips 39312 --dim 4096`, VoxCeleb2's `--speakers 6000 --clips 275000 --dim 4096`. A quarter of the
speakers are tested; every speaker has as many clips as those, 7 a video, and 3 faces a video. Attributes are VoxCeleb's, sex and
nationality. `--decoded` adds a decoder and the networks that look at its faces, all of them linear. Features are in files, as the
pipeline gives them. Seconds are of the processor, all threads together (S2F_WORKERS, default: as many as there are processors), so that
what else runs does not count. `--results` keeps the results, to compare two versions of the code.
"""

import argparse
import cProfile
import pstats
import resource
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from speech2face.evaluation.run import evaluate
from speech2face.measures.inputs import Faces, Inputs
from speech2face.measures.opinions import Opinion
from speech2face.measures.stored import StoredFeatures
from speech2face.measures.views import View
from speech2face.pipeline.params import Evaluation

CLIPS_PER_VIDEO = 7
FACES_PER_VIDEO = 3
NATIONS = 36
ROWS = 4096


def made_up(num_speakers: int, num_clips: int, dim: int) -> Inputs:
    """Inputs of `num_clips` test clips or slightly fewer, whose predictions know a little of the speaker."""
    rng = np.random.default_rng(0)
    num_test = num_speakers // 4
    videos = max(1, num_clips // num_test // CLIPS_PER_VIDEO)
    speakers = [f"id{number:05d}" for number in range(num_speakers)]
    people = rng.standard_normal((num_speakers, dim), np.float32)
    splits = ["test" if number < num_test else "train" for number in range(num_speakers)]
    clips = _ids(speakers, videos, CLIPS_PER_VIDEO)
    faces, of_face = (
        _ids(speakers, videos, FACES_PER_VIDEO),
        np.repeat(np.arange(num_speakers), videos * FACES_PER_VIDEO),
    )
    of_clip = np.repeat(np.arange(num_speakers), videos * CLIPS_PER_VIDEO)
    tested = of_clip < num_test
    attributes = {"sex": np.array(["f", "m"]), "nationality": np.array([f"n{number:02d}" for number in range(NATIONS)])}
    drawn = {name: rng.choice(values, num_speakers)[of_clip] for name, values in attributes.items()}
    voices = {"mean_spectrogram": 257, "f0": 5}
    tables = {name: rng.standard_normal((len(clips), size), np.float32) for name, size in voices.items()}
    return Inputs(
        [clip for clip, is_test in zip(clips, tested, strict=True) if is_test],
        {"6 s": _near(people, of_clip[tested], dim**0.5, rng)},
        Faces(faces, [speakers[s] for s in of_face], [splits[s] for s in of_face], _near(people, of_face, 1.0, rng)),
        pd.DataFrame(drawn, clips),
        voices={name: pd.DataFrame(values, clips, copy=False) for name, values in tables.items()},
    )


def with_decoder(inputs: Inputs) -> Inputs:
    """The same inputs with a decoder of small pictures, and networks that look at the landmarks."""
    rng = np.random.default_rng(1)
    dim = inputs.faces.features.shape[1]
    shape = (rng.standard_normal((dim, 136)) / dim).astype(np.float32)
    back = np.linalg.pinv(shape)
    mean = rng.uniform(50, 150, 136).astype(np.float32)

    def decode(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(features), 8, 8, 3), np.uint8), (mean + features @ shape).reshape(-1, 68, 2)

    def embed(images: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return (landmarks.reshape(len(images), -1) - mean) @ back

    def judge(images: np.ndarray, landmarks: np.ndarray) -> Opinion:
        values = landmarks.reshape(len(images), -1)
        return Opinion(values, values[:, 0], values[:, 1] / 255)

    return replace(inputs, decode=decode, embed=embed, judge=judge)


def _ids(speakers: list[str], videos: int, each: int) -> list[str]:
    return [f"{s}/video{video:03d}/{number:07d}" for s in speakers for video in range(videos) for number in range(each)]


def _near(people: np.ndarray, of_row: np.ndarray, noise: float, rng: np.random.Generator) -> View:
    """Each row's person with noise, float32 [N, D]. The noise is the sum of two rows of a table, which costs less than fresh numbers."""
    features = StoredFeatures(people.shape[1])
    table = (noise / 2**0.5) * rng.standard_normal((ROWS, people.shape[1]), np.float32)
    for start in range(0, len(of_row), ROWS):
        block = people[of_row[start : start + ROWS]]
        for _ in range(2):
            block += table[rng.permutation(ROWS)[: len(block)]]
        features.append(1 + block)
    return features.view()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=320, help="of all splits, a quarter of them tested")
    parser.add_argument("--clips", type=int, default=5040, help="tested")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--decoded", action="store_true")
    parser.add_argument("--functions", type=int, default=25, help="of the package, that took longest, to be listed")
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    inputs = made_up(arguments.speakers, arguments.clips, arguments.dim)
    inputs = with_decoder(inputs) if arguments.decoded else inputs
    settings = Evaluation(confidence=0.95, resamples=arguments.resamples, pictures=8, second_opinion=None)
    print(
        f"{len(inputs.clip_ids):,} clips, {len(inputs.faces.face_ids):,} faces, {arguments.dim} dimensions, inputs {peak_mib():,.0f} MiB"
    )
    profile = cProfile.Profile(time.process_time)
    started, clock = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        profile.runcall(evaluate, inputs, settings, 0, Path(folder))
        if arguments.results:
            shutil.copy(Path(folder) / "results.json", arguments.results)
    print(
        f"{time.process_time() - started:.1f} s of the processor, {time.monotonic() - clock:.1f} s by the clock, "
        f"peak {peak_mib():,.0f} MiB; with what they call, the functions took:"
    )
    found = [
        (values[3], f"{Path(file).stem}.{function}")
        for (file, _, function), values in pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
        if "/speech2face/" in file
    ]
    for seconds, name in sorted(found, reverse=True)[: arguments.functions]:
        print(f"{seconds:8.1f} s  {name}")


if __name__ == "__main__":
    main()
