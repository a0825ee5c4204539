"""The house: arrows between rooms go one way, modules and functions stay short, and each module has its test."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "speech2face"
ROOMS = (
    "pipeline",
    "dlib_nets",
    "corpus",
    "audio",
    "faces",
    "models",
    "face_networks",
    "speaker_networks",
    "synthetic",
    "measures",
    "training",
    "drawing",
    "exporting",
    "report",
    "evaluation",
    "estimate",
    "app",
)
"""A room imports from itself and from those before it."""
ONLY = {"measures": {"pipeline", "corpus"}, "report": {"pipeline", "measures"}}
"""Rooms that import from few of those before them."""
DOORS = {"cli", "doctor", "predict", "prune", "why"}
"""Modules outside the rooms: they import from any room, and no room imports from them."""
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_STAGE = 300, 60, 40
WITHOUT_TEST = {
    "audio.blocks": "test_reading: what is mixed, and channels that cancel",
    "audio.packets": "test_decoding: damaged parts, joined recordings, starts; test_reading: files that break off",
    "audio.raw_streams": "test_decoding: frames that are damaged with their headers",
    "audio.resampling": "test_reading compares it with scipy",
    "audio.speech": "test_extraction hears silence and speech by it",
    "audio.table": "a schema; test_extraction and pipeline.test_other_tools read and write it",
    "audio.timeline": "test_decoding: gaps and packets that are missing become silence",
    "corpus.containers": "constants",
    "corpus.voxceleb_layout": "constants",
    "dlib_nets.building": "test_detector and test_embedder build networks by it",
    "dlib_nets.layers": "test_network_file reads every kind",
    "drawing.loading": "test_model loads and refuses models, and exporting.test_export exports them",
    "estimate.probe": "test_measuring runs all of it on samples",
    "face_networks.converted": "test_store writes and opens converted files",
    "face_networks.files.insightface_pack": "test_arcface reads packs",
    "face_networks.files.keras_h5": "files.test_vgg_face and files.test_other_networks read every format",
    "face_networks.files.matlab": "files.test_vgg_face and files.test_other_networks read every format",
    "face_networks.files.onnx_graph": "test_onnx_network and test_arcface read graphs",
    "face_networks.files.pytorch": "files.test_vgg_face and files.test_other_networks read every format",
    "face_networks.files.torch7": "files.test_vgg_face and files.test_other_networks read every format",
    "face_networks.table": "a schema; test_extraction and pipeline.test_other_tools read and write it",
    "face_networks.vgg_face_file": "files.test_vgg_face loads and describes files by it",
    "face_networks.vgg_face_layout": "files.test_other_networks tells networks from each other by it",
    "faces.table": "a schema; test_crops and pipeline.test_other_tools read and write it",
    "measures.inputs": "data classes; test_aligned checks what they hold",
    "models.encoders": "test_speaker_encoder loads either",
    "pipeline.processes": "test_engine: as many as there are workers, one that dies, a stage that is killed",
    "pipeline.syntax": "test_code: what it strips; test_pythons: the same text in every version of Python",
    "prune": "pipeline.test_change runs it; it needs a DVC repository",
    "report.template": "the page's HTML; test_pages takes it apart",
    "speaker_networks.table": "a schema; test_extraction reads and writes it",
    "synthetic.espeak": "test_voices speaks by it",
    "synthetic.texts": "sentences to be said",
    "why": "pipeline.test_change runs it; it needs a DVC repository",
}
"""Modules without a test of their own name, and why."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def modules() -> Iterator[tuple[str, Path]]:
    """Name without the package's, and path, of every module in the package; a room's own is `<room>.__init__`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(path.relative_to(PACKAGE).with_suffix("").parts), path


def imported(path: Path) -> Iterator[str]:
    """Modules of this project that a file imports, anywhere in it, without the package's name."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: write imports in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("speech2face.") for name in names if name.startswith("speech2face."))


def is_allowed(room: str, other: str) -> bool:
    if room in DOORS:
        return True
    if other not in ROOMS:
        return False
    before = ROOMS[: ROOMS.index(room)]
    return other == room or other in ONLY.get(room, before)


def test_the_rooms_are_those_of_the_house():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} == set(ROOMS)
    assert {name for name, _ in modules() if "." not in name} == DOORS | {"__init__"}


def test_arrows_go_one_way():
    wrong = [
        f"{name} imports {other}"
        for name, path in modules()
        if name != "__init__"
        for other in imported(path)
        if not is_allowed(name.split(".")[0], other.split(".")[0])
    ]
    assert not wrong, "\n".join(wrong)


def test_measures_are_numbers_only():
    """Arrays and tables in, numbers out: no file is read or written."""
    wrong = []
    for name, path in modules():
        if name.startswith("measures."):
            found = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
            found |= {name.split(".")[0] for name in _all_imports(path)}
            wrong += [f"{name} uses {word}" for word in sorted(found & {"open", "Path", "pathlib", "pyarrow"})]
    assert not wrong, "\n".join(wrong)


def _all_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_modules_and_functions_are_short():
    long = []
    sources = dict(modules()) | {f"stages.{path.stem}": path for path in sorted((ROOT / "stages").glob("*.py"))}
    for name, path in sources.items():
        written = path.read_text("utf-8").splitlines()
        most = MOST_LINES
        if name.startswith("stages."):
            most = MOST_LINES_OF_A_STAGE
            written = [line for line in written if line.strip() and not line.strip().startswith("#")]
        if (lines := len(written)) > most:
            long.append(f"{name} has {lines} lines, at most {most}")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{name}.{node.name} has {lines} lines, at most {MOST_LINES_OF_A_FUNCTION}")
    assert not long, "\n".join(long)


def test_settings_are_typed():
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*(path for _, path in modules()), *sorted((ROOT / "stages").glob("*.py"))]
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "settings"
    ]
    assert not wrong, f"write settings.name instead of settings['name']: {', '.join(wrong)}"


def test_every_module_has_a_test_of_its_name_or_a_reason():
    names = {name for name, _ in modules() if not name.endswith("__init__")}
    tests = {
        ".".join([*path.relative_to(ROOT / "tests").parent.parts, path.stem.removeprefix("test_")])
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    assert sorted(names - tests - WITHOUT_TEST.keys()) == []
    assert sorted(WITHOUT_TEST.keys() - names) == [], "no such module"
    assert sorted(WITHOUT_TEST.keys() & tests) == [], "a test after all: take the reason out"
