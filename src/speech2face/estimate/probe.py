"""What is timed inside of a process of its own, in the folder of a sample: `python -m speech2face.estimate.probe NAME ARGUMENTS CLOCK`.
ARGUMENTS is an object of JSON, and so is what it prints; CLOCK is wall or processor.

A training's steps and validation, and what grows faster than the corpus, on made-up numbers: the comparison of predictions with
everybody's face, the face classifier's fit, and the search for near neighbours of faces.
"""

import json
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from speech2face.evaluation.run import evaluate
from speech2face.measures.inputs import Faces, Inputs
from speech2face.models.face_decoder import NUM_LANDMARKS, SIZE_PX
from speech2face.models.head import FACES_PER_SPEAKER, fit_head
from speech2face.pipeline.machine import device
from speech2face.pipeline.params import load_params
from speech2face.training.canonical import MASK_SHAPE, TEXTURE_SHAPE
from speech2face.training.loop import State, Task, steps
from speech2face.training.morphs import nearest_neighbours

FEW_SPEAKERS = 32
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
_now = time.perf_counter


def train(stage: str, seconds: float, validate: bool) -> dict[str, float]:
    """Seconds of a training's preparation, of a step and of a validation; the steps are as many as fit into `seconds`, two at least.

    `canonical` is the number of canonical faces of a decoder's training, `clips` that of an encoder's training clips.
    """
    plan = runpy.run_path(f"stages/{stage}.py")["plan"](load_params())
    started = _now()
    task = plan.build(**plan.arguments, seed=plan.seed, device=device())
    built = _now() - started
    step_s = _seconds_a_step(task, plan.seed, seconds)
    validated = 0.0
    if validate:
        task.network.eval()
        started = _now()
        task.validate()
        validated = _now() - started
    counts = {name: float(task.counts.get(name, 0)) for name in ("clips", "canonical_faces")}
    return {"build_s": built, "step_s": step_s, "validate_s": validated, "num_batches": task.num_batches, **counts}


def _seconds_a_step(task: Task, seed: int, seconds: float) -> float:
    """The first step is not counted: it makes room for what the others use again."""
    count, passed = 0, 0.0
    for epoch in range(1_000_000):
        done = steps(task, State(epoch=epoch), seed)
        for number, _ in enumerate(done):
            _synchronise()
            if epoch == number == 0:
                started = _now()
                continue
            count, passed = count + 1, _now() - started
            if count >= 2 and passed >= seconds:
                done.close()  # type: ignore[attr-defined]
                return passed / count
    raise ValueError("a training has no steps")


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def compare(dim: int, amount: float) -> dict[str, float]:
    """Seconds of an evaluation for each test clip and test speaker, and for each two test speakers: of evaluations of n clips of a few, of
    n / 2 and of n speakers, with n * n * dim about `amount`."""
    size = max(FEW_SPEAKERS * 4, 2 * round((amount / dim) ** 0.5 / 2))
    _evaluate(FEW_SPEAKERS, FEW_SPEAKERS, dim)  # loads what is loaded once
    few, half, whole = (_evaluate(size, speakers, dim) for speakers in (FEW_SPEAKERS, size // 2, size))
    # whole = few + n n (c + d), half = few + n n (c / 2 + d / 4)
    both, of_half = (max(0.0, seconds - few) / size**2 for seconds in (whole, half))
    of_speakers = min(both, max(0.0, 2 * both - 4 * of_half))
    return {"clip_and_speaker_s": both - of_speakers, "two_speakers_s": of_speakers}


def _evaluate(num_clips: int, num_speakers: int, dim: int) -> float:
    inputs = _made_up(num_clips, num_speakers, dim)
    settings = load_params().evaluation.model_copy(update={"second_opinion": None})
    with tempfile.TemporaryDirectory() as folder:
        started = _now()
        evaluate(inputs, settings, 0, Path(folder))
        return _now() - started


def _made_up(num_clips: int, num_speakers: int, dim: int) -> Inputs:
    """Predictions for test clips that know a little of the speaker; everybody has one face."""
    rng = np.random.default_rng(0)
    splits = ["train"] * FEW_SPEAKERS + ["val"] * 2 + ["test"] * num_speakers
    speakers = [f"s{number:06d}" for number in range(len(splits))]
    faces = 1 + rng.standard_normal((len(speakers), dim), np.float32)
    first = len(speakers) - num_speakers
    owners = first + np.arange(num_clips) % num_speakers
    clips = [f"{speakers[owner]}/v/{number:06d}" for number, owner in enumerate(owners)]
    predicted = faces[owners] + 5 * rng.standard_normal((num_clips, dim), np.float32)
    return Inputs(
        clips,
        {"6 s": predicted},
        Faces([f"{speaker}/v/0" for speaker in speakers], speakers, splits, faces),
        pd.DataFrame(index=pd.Index(clips)),
    )


def head(dim: int, classes: int, l2: float) -> dict[str, float]:
    """Seconds of the face classifier's fit, for each class, face and number of a feature."""
    rng = np.random.default_rng(0)
    people = rng.normal(0, 1, (classes, dim))
    labels = np.repeat(np.arange(classes), FACES_PER_SPEAKER)
    # As far apart as dlib's features are: about 0.5 between people and 0.35 within one.
    features = (0.5 * people[labels] + 0.35 * rng.normal(size=(len(labels), dim))) / (dim / 2) ** 0.5
    started = _now()
    fit_head(features.astype(np.float32), labels, l2)
    return {"product_s": (_now() - started) / (classes * len(labels) * dim)}


def neighbours(count: int) -> dict[str, float]:
    """Seconds of the search for neighbours, for each two faces."""
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(0, SIZE_PX, (count, NUM_LANDMARKS, 2))

    def made(shape: tuple[int, ...], dtype: type) -> Iterator[np.ndarray]:
        base = rng.integers(0, 2 if dtype is bool else 256, shape)
        for number in range(count):
            yield np.roll(base, number, -1).astype(dtype)

    started = _now()
    nearest_neighbours(landmarks, made(TEXTURE_SHAPE, np.uint8), made(MASK_SHAPE, bool), 5, device())
    return {"pair_s": (_now() - started) / count**2}


PROBES: dict[str, Callable[..., dict[str, float]]] = {
    "train": train,
    "compare": compare,
    "head": head,
    "neighbours": neighbours,
}


def main(name: str, arguments: dict[str, Any], clock: str) -> None:
    """Run a probe and print what it found."""
    global _now
    _now = CLOCKS[clock]
    print(json.dumps(PROBES[name](**arguments)))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
