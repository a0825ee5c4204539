"""Two machines that share a git repository and a DVC remote: what one has computed, the other does not compute again."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.pipeline.clones import Clone, run

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(origin: Clone, tmp_path: Path) -> Callable[[str], Clone]:
    """Machines by their names: clones that have pulled. They share a repository and a remote of this test alone."""
    run(["git", "clone", "--quiet", "--bare", str(origin.path), "hub.git"], tmp_path)
    run(["cp", "--archive", str(origin.path.parent / "store"), "store"], tmp_path)

    def start(name: str) -> Clone:
        run(["git", "clone", "--quiet", "hub.git", name], tmp_path)
        clone = Clone(tmp_path / name)
        clone("dvc", "remote", "modify", "--local", "store", "url", str(tmp_path / "store"))
        clone("dvc", "pull", "--quiet")
        return clone

    return start


def share(clone: Clone) -> None:
    """Commit, and send everything to the others, as docs/machines.md says."""
    clone.commit("another speaker")
    clone("dvc", "push", "--quiet")
    clone("git", "push", "--quiet")


def test_a_speaker_added_on_one_machine_is_nothing_to_compute_on_the_other(machine: Callable[[str], Clone]):
    first, second = machine("first"), machine("second")
    assert not (second.path / ".work").exists()

    second.edit("params.yaml", "num_speakers: 6", "num_speakers: 7")
    found = second.repro("train_encoder", "train_decoder")
    assert set(found.computed) == {"make_corpus", "segment_audio", "embed_voices", "crop_faces", "extract_features"}
    assert found.computed.pop("embed_voices") == 0  # the published network asks for none
    assert all(1 <= count <= 2 for count in found.computed.values()), found.computed
    share(second)

    first("git", "pull", "--quiet")
    first("dvc", "pull", "--quiet", "--allow-missing")  # nobody has evaluated yet
    assert first.repro("train_encoder", "train_decoder").stages == []
    assert len(pd.read_parquet(first.path / "data/speakers.parquet")) == 7

    # What was run with other parameters is shared as an experiment.
    first("dvc", "exp", "run", "--quiet", "--name", "slower", "--set-param", "lr=0.0008", "train_encoder")
    first("dvc", "exp", "push", "--quiet", "origin", "slower")
    second("dvc", "exp", "pull", "--quiet", "origin", "slower")
    second("dvc", "exp", "apply", "--quiet", "slower")
    assert "lr: 0.0008\n" in (second.path / "params.yaml").read_text("utf-8")
    assert second.repro("train_encoder").stages == []
    weights = "models/encoder/encoder.safetensors"
    assert (second.path / weights).read_bytes() == (first.path / weights).read_bytes()
