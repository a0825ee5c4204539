"""This machine measured in a hurry, and the bytes that are predicted against those of a run. Times are not tested."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from speech2face.estimate import bench, measuring
from speech2face.estimate.bench import read_outs, size_of
from speech2face.estimate.corpora import CORPORA
from speech2face.estimate.model import STAGES, Row, machine_of, predict
from speech2face.estimate.sample import make_voices, write_corpus
from speech2face.pipeline.params import Params, load_params
from tests.pipeline.preloaded import preloaded

ROOT = Path(__file__).parents[2]
SPEAKERS, VIDEOS, CLIPS, PICTURES = 12, 2, 3, 1
CORPUS = replace(CORPORA["voxceleb1"], clip_s=3.0).resized(SPEAKERS * VIDEOS * CLIPS, SPEAKERS * VIDEOS, SPEAKERS)
VOICES = 4
"""The same people in the samples and in the run: other faces take up to a tenth more or less as JPEG, and here it is the counting that
is tested."""
BOUND = 0.02


def parameters(root: Path | None) -> Params:
    values = load_params(ROOT / "params.yaml").model_dump(mode="json")
    values["corpus"] |= {"pictures_per_video": PICTURES, "clips_per_shard": 8}
    values["corpus"]["splits"] |= {"val": 0.25, "test": 0.25}
    values["audio"] |= {"segment_s": 3.0}
    values["decoder"] |= {"epochs": 1, "batch_size": 2, "texture_channels": 16}
    values["encoder"] |= {"epochs": 1, "batch_size": 2, "base_channels": 1, "hidden_dim": 16}
    values["evaluation"] |= {"resamples": 100}
    if root is not None:
        values["corpus"] |= {"source": "manifest", "root": str(root)}
    return Params.model_validate(values)


def run_stages(folder: Path) -> dict[str, int]:
    """The stages in their order, on a generated corpus; bytes that each leaves."""
    voices = list(make_voices(folder / "voices", CORPUS, VOICES))
    root = write_corpus(folder / "corpus", voices, PICTURES, SPEAKERS, VIDEOS, CLIPS)
    work = folder / "work"
    work.mkdir()
    for name in ("src", "stages"):
        (work / name).symlink_to(ROOT / name)
    with (work / "params.yaml").open("w") as file:
        YAML().dump(parameters(root).model_dump(mode="json"), file)
    environment = os.environ | {"PYTHONPATH": "src", "DVC_ROOT": str(work), "OMP_NUM_THREADS": "1", "S2F_WORKERS": "1"}
    outs, found = read_outs(ROOT / "dvc.yaml"), {}
    for stage in STAGES:
        subprocess.run([preloaded() / "python", f"stages/{stage}.py"], cwd=work, env=environment, check=True)
        found[stage] = sum(size_of(work / out) for out in outs[stage])
    return found


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("MOST_SPEAKERS", 48),
            ("SHARDS_OF_A_WORKER", 1),
            ("VOICES", VOICES),
            ("HEAD_CLASSES", 4),
            ("NEIGHBOURS", 16),
            ("EVALUATED", 16),
        ):
            patch.setattr(measuring, name, value)
        for name, text in (("S2F_WORKERS", "1"), ("S2F_DEVICE", "cpu"), ("OMP_NUM_THREADS", "1")):
            patch.setenv(name, text)
        for module in (bench, measuring):  # some fifty programs, of which each would import torch
            patch.setattr(module, "sys", SimpleNamespace(executable=str(preloaded() / "python")))
        patch.setattr(measuring, "COMPARED", 1e6)
        rates = measuring.measure(parameters(None), [CORPUS], ROOT, enough_s=0.2)
    rows = predict(rates, CORPUS, parameters(None), machine_of(rates, None, None))
    return {row.stage: row for row in rows}


@pytest.mark.slow
def test_every_stage_is_measured(predicted: dict[str, Row]):
    assert list(predicted) == [*STAGES, "dvc"]
    for row in predicted.values():
        # The memory is that of what waits for the program; tests/estimate/test_watching.py measures a program's own.
        assert row.seconds > 0 and row.memory_mib > 0, row


@pytest.mark.slow
def test_bytes_are_those_of_a_run(predicted: dict[str, Row], tmp_path: Path):
    left = run_stages(tmp_path)
    for stage in ("segment_audio", "crop_faces", "extract_features", "train_decoder", "train_encoder"):
        assert predicted[stage].bytes == pytest.approx(left[stage], rel=BOUND), stage
    del left["evaluate"]  # of fewer test speakers than its strip of pictures shows, it leaves less
    total = sum(predicted[stage].bytes for stage in left)
    assert total == pytest.approx(sum(left.values()), rel=BOUND)
