"""Versions of the model: registered with GTO, fetched into another project by name, and used there (docs/models.md)."""

import shutil
from pathlib import Path

import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.artifacts import Artifacts
from gto.api import assign, register
from ruamel.yaml import YAML

from speech2face import Speech2Face
from tests.pipeline.clones import Clone, run
from tests.pipeline.dvc_repository import commit, git, keep_outputs, start_repository

pytestmark = [pytest.mark.slow, pytest.mark.spread]
DVC_YAML = YAML(typ="safe").load(Path(__file__).parents[2] / "dvc.yaml")
STAGES = {"extract_features": "models/head", "train_decoder": "models/decoder", "train_encoder": "models/encoder"}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_artifact_is_all_that_stages_write_into_models():
    made = {name: out for name, stage in DVC_YAML["stages"].items() for out in stage["outs"] if "models" in str(out)}
    assert made == STAGES
    assert {name: artifact["path"] for name, artifact in DVC_YAML["artifacts"].items()} == {"speech2face": "models"}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the artifacts of dvc.yaml and two versions of a model of one line, the first of them in production; the
    workspace has come further."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_COMMITTER_NAME", "tester")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "tester@example.org")
    start_repository()
    for text in ("first", "second", "not registered"):
        for name in STAGES.values():
            Path(name).mkdir(parents=True, exist_ok=True)
            Path(name, "weights").write_text(f"{name} {text}")
        keep_outputs(**{stage: [name] for stage, name in STAGES.items()})
        content = YAML(typ="safe").load(Path("dvc.yaml"))
        YAML().dump(content | {"artifacts": DVC_YAML["artifacts"]}, Path("dvc.yaml"))
        git("add", "dvc.yaml", "dvc.lock")
        commit(text)
        if text != "not registered":
            register(".", "speech2face", "HEAD")
    assign(".", "speech2face", "prod", version="v0.0.1")
    with Repo() as repo:
        assert repo.status() == {}
    return folder


@pytest.mark.parametrize(
    ("which", "text"), [({}, "second"), ({"version": "v0.0.1"}, "first"), ({"stage": "prod"}, "first")]
)
def test_a_version_or_stage_brings_its_own_networks(registry: Path, tmp_path: Path, which: dict[str, str], text: str):
    Artifacts.get(str(registry), "speech2face", out=str(tmp_path / "models"), **which)
    assert files(tmp_path / "models") == {
        f"{Path(name).name}/weights": f"{name} {text}".encode() for name in STAGES.values()
    }


def test_a_version_that_nobody_registered_is_refused(registry: Path, tmp_path: Path):
    with pytest.raises(DvcException, match="Failed to download artifact 'speech2face'"):
        Artifacts.get(str(registry), "speech2face", version="v9.0.0", out=str(tmp_path / "models"))


def test_a_registered_model_draws_in_another_project(pulled: Clone, tmp_path: Path):
    """As docs/models.md says, of the whole pipeline's models, and with the data from the remote alone."""
    assert "speech2face@v0.0.1" in pulled("gto", "register", "speech2face").stdout
    assert "v0.0.1" in pulled("gto", "show", "speech2face").stdout
    assert pulled("dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    expected = files(pulled.path / "models")
    voice = sorted((pulled.path / "data/recordings").rglob("*.wav"))[0]
    recording = shutil.copy(voice, tmp_path / "voice.wav")
    face = Speech2Face.load(pulled.path / "models").draw(recording).tobytes()
    run(["rm", "-r", ".dvc/cache", "models/encoder", "models/decoder", "models/head"], pulled.path)

    other = tmp_path / "other"
    other.mkdir()
    run(["dvc", "artifacts", "get", str(pulled.path), "speech2face", "-o", "models"], other)
    run(["dvc", "get", str(pulled.path), "models", "--rev", "speech2face@v0.0.1", "-o", "again"], other)
    assert files(other / "models") == files(other / "again") == expected
    assert Speech2Face.load(other / "models").draw(recording).tobytes() == face
