"""What runs again after a change, and what does not: the whole pipeline through DVC."""

import ast
import json

import pyarrow.parquet as pq
import pytest

from speech2face.pipeline.shards import shard_paths, to_numpy
from tests.pipeline.clones import STAGES, Clone, Run

pytestmark = [pytest.mark.slow, pytest.mark.spread]


@pytest.fixture(autouse=True)
def as_it_was(request: pytest.FixtureRequest):
    yield
    if "clone" in request.fixturenames:
        request.getfixturevalue("clone").reset()


def rewrite(clone: Clone) -> None:
    """Give every source file comments, docstrings and another layout, and take its annotations of functions away."""
    for path in [*clone.path.glob("src/**/*.py"), *clone.path.glob("stages/*.py")]:
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.returns = None
                node.body.insert(0, ast.Expr(ast.Constant("Something else.")))
                for argument in [*node.args.args, *node.args.kwonlyargs]:
                    argument.annotation = None
        path.write_text(f"# A comment.\n{ast.unparse(ast.fix_missing_locations(tree))}\n", "utf-8")


def test_comments_docstrings_annotations_and_layout_run_nothing(clone: Clone):
    rewrite(clone)
    assert clone.repro().stages == ["code"]
    assert clone("dvc", "status").stdout.strip() == "Data and pipelines are up to date."


def test_nor_do_they_on_a_machine_that_has_only_pulled_where_a_stage_repeated_takes_no_step(pulled: Clone):
    rewrite(pulled)
    assert pulled.repro().stages == ["code"]
    assert pulled("dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert not (pulled.path / ".work").exists()
    found = pulled.repro("--force")
    assert found.stages == STAGES and found.work == 0
    repeated = ["code", "segment_audio", "train_decoder"]  # one of each kind, as users run it
    found = Clone(pulled.path, fresh=True).repro("--force", "--single-item", *repeated)
    assert found.stages == repeated and found.work == 0
    assert found.computed.keys() | found.steps.keys() == set(repeated[1:])
    assert "results/" not in pulled("git", "status", "--short").stdout


def test_an_operator_in_a_decorated_function_recomputes_what_comes_of_it(clone: Clone):
    before = features(clone)
    clone.edit(
        "src/speech2face/face_networks/extraction.py",
        "backend.embed(crops, landmarks)",
        "(2 * backend.embed(crops, landmarks))",
    )
    found = clone.repro("extract_features")
    assert found.stages == ["code", "extract_features"]
    assert found.computed["extract_features"] == len(before)
    after = features(clone)
    assert before.keys() == after.keys()
    assert all((after[face] == 2 * before[face]).all() for face in before)
    assert out_of_date(clone) == {"train_decoder", "train_encoder", "evaluate"}


def out_of_date(clone: Clone) -> set[str]:
    """The stages that the next `dvc repro` would run."""
    return set(json.loads(clone("dvc", "status", "--json").stdout))


def features(clone: Clone) -> dict:
    tables = [pq.read_table(path) for path in shard_paths(clone.path / "data/features")]
    return {
        face: row for t in tables for face, row in zip(t["face_id"].to_pylist(), to_numpy(t["feature"]), strict=True)
    }


def test_an_operator_of_the_front_end_leaves_the_faces_alone(clone: Clone):
    clone.edit("src/speech2face/audio/spectrogram.py", "POWER = 0.3", "POWER = 0.3 * 1.01")
    found = clone.repro("train_encoder")
    assert found.stages == ["code", "segment_audio", "train_encoder"]
    assert found.computed["segment_audio"] == 12 and found.steps["train_encoder"] > 0
    assert out_of_date(clone) == {"evaluate"}


def test_texts_foreign_keys_foreign_readers_the_evaluation_and_the_report_compute_no_shard_and_take_no_step(
    clone: Clone,
):
    for name, old, new in (
        ("audio/reading.py", "leave it out or record it louder", "record it louder"),
        ("audio/segments.py", "leave the clip out", "leave this clip out"),
        ("training/loop.py", "lower the learning rate", "a smaller learning rate may help"),
        ("pipeline/params.py", "    second_opinion: ", "    colour: bool\n    second_opinion: "),
        ("corpus/readers/avspeech.py", "0 <= start < end", "0 <= start <= end"),
        ("measures/leaks.py", "MOST_VIDEOS = 4096", "MOST_VIDEOS = 4000 + 96"),
        ("report/figures.py", "LABEL_PX = 20", "LABEL_PX = 10 + 10"),
    ):
        clone.edit(f"src/speech2face/{name}", old, new)
    clone.edit("params.yaml", "  pictures: 8\n", "  pictures: 8\n  # Whether there is colour.\n  colour: true\n")
    found = clone.repro()
    assert found.work == 0
    assert found.stages == ["code", "make_corpus", "evaluate"]  # the reader is one of those that list a corpus


def test_other_splits_compute_no_spectrogram_no_face_and_no_feature(clone: Clone):
    clone.edit("params.yaml", "    test: 0.33", "    test: 0.3")  # a test speaker validates now
    found = clone.repro("train_encoder")
    unmoved = ("code", "segment_audio", "embed_voices", "crop_faces", "evaluate")
    assert found.stages == [s for s in STAGES if s not in unmoved]
    assert out_of_date(clone) == {"evaluate"}
    assert set(found.computed.values()) == {0}
    assert all(found.steps[name] > 0 for name in ("train_decoder", "train_encoder"))


def test_another_version_of_a_library_runs_what_uses_it(clone: Clone):
    def install(name: str, version: str) -> None:
        folder = clone.path / "src" / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    install("silero_vad", "99.0")  # src is first on the path
    found = clone.repro("segment_audio")
    assert found.stages == ["code", "segment_audio"] and found.computed["segment_audio"] == 12
    users = {
        "mitsuba": {"make_corpus"},
        "anny": {"make_corpus"},
        "espeakng-loader": {"make_corpus"},
        "dlib-bin": {"crop_faces"},
        "torchaudio": {"segment_audio", "embed_voices", "evaluate"},
        "matplotlib": {"evaluate"},
    }
    for number, library in enumerate(users):
        install(library.replace("-", "_"), f"99.{number}")
    before = codes(clone)
    clone("env", "PYTHONPATH=src", "python", "stages/code.py")
    after = codes(clone)
    assert {name for name in before if before[name] != after[name]} == set.union(*users.values())
    for number, (library, stages) in enumerate(users.items()):
        recorded = {name: content["libraries"].get(library) for name, content in after.items()}
        assert {name for name, version in recorded.items() if version == f"99.{number}"} == stages, library
        assert {name for name, version in recorded.items() if version is not None} == stages, library


def codes(clone: Clone) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in (clone.path / "results/code").glob("*.json")}


def test_a_stage_repeated_takes_no_step(clone: Clone):
    repeated = ["make_corpus", "segment_audio", "crop_faces", "extract_features", "train_decoder", "train_encoder"]
    found = clone.repro("--force", "--single-item", *repeated)
    assert found.stages == repeated and found.work == 0
    assert found.computed.keys() | found.steps.keys() == set(repeated)
    assert "results/" not in clone("git", "status", "--short").stdout


def test_why_says_what_differs(clone: Clone):
    def why(stage: str) -> str:
        return clone("env", "PYTHONPATH=src", "python", "-m", "speech2face.cli", "why", stage).stdout

    assert why("segment_audio") == "segment_audio: nothing differs from its last run\n"
    clone.edit("params.yaml", "  segment_s: 6.0", "  segment_s: 3.0")
    clone.edit("params.yaml", "lr: 0.0004", "lr: 0.0003")
    clone.edit("src/speech2face/audio/spectrogram.py", "POWER = 0.3", "POWER = 0.3 * 1.01")
    clone.edit("src/speech2face/report/figures.py", "LABEL_PX = 20", "LABEL_PX = 10 + 10")
    text = why("segment_audio")
    for part in (
        "parameter audio.segment_s: 6.0 -> 3.0",
        "code of speech2face.audio.spectrogram: changed",
        "the shards: setting segment_s: 6.0 -> 3.0",
        "the shards: code of speech2face.audio.spectrogram: changed",
        "12 of 12 shards would be computed",
    ):
        assert part in text, text
    assert "face" not in why("crop_faces").replace("crop_faces", "")
    text = why("train_encoder")
    assert "parameter lr: 0.0004 -> 0.0003" in text and "the network: setting lr: 0.0004 -> 0.0003" in text
    assert "code of speech2face.report.figures: changed" in why("evaluate")


def test_prune_keeps_what_dvc_lock_experiments_and_the_next_run_need_and_a_parameter_set_back_takes_no_step(
    clone: Clone,
):
    def stored() -> set[str]:
        work = clone.path / ".work"
        return {p.name for kind in ("shards", "trained") for p in (work / kind).rglob("*") if p.is_file()}

    def prune() -> str:
        return clone("env", "PYTHONPATH=src", "python", "-m", "speech2face.cli", "prune").stdout

    prune()  # what other tests have left
    needed = stored()
    # Training alone: of an evaluation nothing is kept in .work.
    experiment = Run(clone("dvc", "exp", "run", "--name", "slower", "-S", "lr=0.0001", "train_encoder"))
    assert experiment.stages == ["train_encoder"] and experiment.steps["train_encoder"] > 0
    clone.edit("params.yaml", "lr: 0.0001", "lr: 0.0004")
    assert clone.repro("--force", "--single-item", "train_encoder").steps == {"train_encoder": 0}
    assert clone("dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    clone.reset()
    of_experiment = stored() - needed
    assert len(of_experiment) == 2  # a weight file and its json
    clone.edit("params.yaml", "jpeg_quality: 95", "jpeg_quality: 90")
    clone.repro("crop_faces")
    of_run = stored() - needed - of_experiment
    assert len(of_run) == 12
    assert prune().startswith("removed 0 of")
    assert stored() == needed | of_experiment | of_run
    clone.reset()
    assert prune().startswith("removed 12 of")
    assert stored() == needed | of_experiment
    clone("dvc", "exp", "remove", "slower")
    assert prune().startswith("removed 2 of")
    assert clone.repro("--force", "--single-item", "train_decoder", "train_encoder").work == 0
