"""That a fingerprint is as wide as what can change a result: for every stage, and every module that its result depends on."""

import ast
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from speech2face.face_networks.store import READERS
from speech2face.models.weight_files import save_network
from speech2face.pipeline.code import PACKAGE, Closure, Sources
from speech2face.pipeline.shards import write_rows
from speech2face.speaker_networks import backends
from speech2face.training.loop import epochs
from tests.pipeline.clones import ROOT, STAGES, Clone, run

pytestmark = pytest.mark.slow

DVC_YAML = YAML(typ="safe").load(ROOT / "dvc.yaml")
SCRIPTS = {f"stages.{name}": ROOT / "stages" / f"{name}.py" for name in STAGES}
LOOP = [("speech2face.training.loop", epochs.__name__), ("speech2face.models.weight_files", save_network.__name__)]
WRITER = ("speech2face.pipeline.shards", write_rows.__name__)
COMPUTATIONS = {
    "render_shard": [("speech2face.synthetic.recordings", "render_shard"), WRITER],
    "spectrogram_shard": [("speech2face.audio.extraction", "spectrogram_shard"), WRITER],
    "waveform_shard": [("speech2face.audio.extraction", "waveform_shard"), WRITER],
    "face_shard": [("speech2face.faces.extraction", "face_shard"), WRITER],
    "feature_shard": [("speech2face.face_networks.extraction", "feature_shard"), WRITER],
    "decoder": [("speech2face.training.decoder", "build_decoder"), *LOOP],
    "encoder": [("speech2face.training.encoder", "build_encoder"), *LOOP],
    "embedding_shard": [("speech2face.speaker_networks.extraction", "embedding_shard"), WRITER],
    "speaker_encoder": [("speech2face.training.speaker_encoder", "build_speaker_encoder"), *LOOP],
    **{name: [(f"stages.{name}", "main")] for name in STAGES},
}
"""What has a fingerprint, by the definitions that it is taken of: shards, trainings, and stages for DVC."""


SOURCES = Sources(PACKAGE, SCRIPTS)
"""Each module is read once for all computations."""


@cache
def covered(computation: str) -> Closure:
    return SOURCES.follow(COMPUTATIONS[computation])


def mutate(statement: ast.stmt) -> bool:
    """Change one operator of a statement, or one number, or else the name of what it calls first; whether there was any."""
    swaps = {
        ast.Add: ast.Sub,
        ast.Sub: ast.Add,
        ast.Mult: ast.Add,
        ast.Div: ast.Mult,
        ast.Lt: ast.LtE,
        ast.Eq: ast.NotEq,
    }
    raised = {
        id(inner)
        for node in ast.walk(statement)
        if isinstance(node, ast.Raise | ast.JoinedStr)
        for inner in ast.walk(node)
    }
    nodes = [node for node in ast.walk(statement) if id(node) not in raised]
    for node in nodes:
        if isinstance(node, ast.BinOp) and type(node.op) in swaps and not _is_annotation(node, statement):
            node.op = swaps[type(node.op)]()
            return True
        if isinstance(node, ast.Compare) and type(node.ops[0]) in swaps:
            node.ops[0] = swaps[type(node.ops[0])]()
            return True
    for node in nodes:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            node.value += 1
            return True
    return False


def _is_annotation(node: ast.AST, statement: ast.stmt) -> bool:
    annotations = [
        part
        for n in ast.walk(statement)
        for part in (getattr(n, "annotation", None), getattr(n, "returns", None))
        if isinstance(part, ast.AST)
    ]
    return any(node is inner for part in annotations for inner in ast.walk(part))


@pytest.mark.parametrize("computation", COMPUTATIONS)
def test_a_mutated_operator_in_any_module_changes_the_fingerprint(
    computation: str, tmp_path: Path, subtests: pytest.Subtests
):
    modules = sorted(covered(computation).statements)
    assert len(modules) > 1
    for module in modules:
        with subtests.test(module):
            assert_mutation_is_seen(computation, module, tmp_path)


def assert_mutation_is_seen(computation: str, module: str, folder: Path) -> None:
    closure = covered(computation)
    source = closure.sources.module(module)
    tree = ast.parse(source.path.read_text("utf-8"))
    changed = next((at for at in sorted(closure.statements[module]) if mutate(tree.body[at])), None)
    if changed is None:  # nothing but names: another line will do
        at = min(closure.statements[module])
        tree.body.insert(at, ast.parse("MUTATED = 1").body[0])
        tree.body[at + 1 :] = [*tree.body[at + 1 :], *ast.parse("str(MUTATED)").body]
    path = folder / f"{module}.py"
    path.write_text(ast.unparse(tree), "utf-8")
    package = source.path.name == "__init__.py"
    sources = Sources(PACKAGE, {**SCRIPTS, module: _named(path, package)})
    sources._modules |= {name: known for name, known in closure.sources._modules.items() if name != module}  # read once
    assert sources.follow(COMPUTATIONS[computation]).digest(module) != closure.digest(module), changed


def _named(path: Path, package: bool) -> Path:
    """A package's file must bear its name, by which its imports are understood."""
    if not package:
        return path
    folder = path.parent / path.stem
    folder.mkdir()
    return path.rename(folder / "__init__.py")


def test_the_readers_of_public_weight_files_are_no_code_of_what_uses_the_weights():
    for computation in ("feature_shard", "embedding_shard", "decoder", "encoder", "speaker_encoder"):
        closure = covered(computation)
        assert not [module for module in closure.statements if "_networks.files" in module]
        if computation == "embedding_shard":
            continue  # the detector of speech is in onnxruntime
        assert not closure.libraries & {"h5py", "onnx", "onnxruntime", "scikit-learn", "matplotlib", "pandas"}


@pytest.mark.parametrize(
    ("stage", "readers"),
    [
        ("extract_features", READERS),
        ("train_decoder", READERS),
        ("evaluate", READERS),
        ("embed_voices", backends.READERS),
    ],
)
def test_the_readers_are_code_of_the_stages_that_ask_for_weights(stage: str, readers: dict[str, str]):
    for reader in readers.values():
        module, _, name = reader.partition(":")
        assert name in covered(stage).names(module)


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "code"])
def test_nothing_runs_and_nothing_is_read_that_is_not_covered(clone: Clone, tmp_path: Path, stage: str):
    """The truth is what runs: the interpreter itself says which functions do. What dvc.yaml does not list for the stage is not there."""
    settings = "  network: published", "  network: speaker_embedding"
    if stage == "embed_voices":  # it computes nothing for the published network
        clone.edit("params.yaml", *settings)
    declared = [clone.path / dep for dep in DVC_YAML["stages"][stage]["deps"]]
    aside = {}
    for path in [
        p for folder in ("data", "models", "results") for p in (clone.path / folder).rglob("*") if p.is_file()
    ]:
        if not any(path.is_relative_to(dep) for dep in declared):
            aside[path] = path.rename(tmp_path / str(len(aside)))
    try:
        done = run(["python", "-c", TRACE.format(root=str(ROOT), stage=stage)], clone.path)
    finally:
        for path, place in aside.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            place.replace(path)
        if stage == "embed_voices":
            clone.edit("params.yaml", *reversed(settings))
    count, *uncovered = (
        done.stdout.split()[-1:] if "\n" not in done.stdout.strip() else done.stdout.strip().splitlines()
    )
    assert int(count) > 5
    assert uncovered == []


TRACE = (
    "import sys, runpy; sys.path[:0] = ['src', {root!r}]; sys.argv = ['trace', {stage!r}]; "
    "runpy.run_module('tests.pipeline.trace', run_name='__main__')"
)
