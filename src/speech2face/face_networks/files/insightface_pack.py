"""The models of an insightface model pack, a folder of .onnx files.

insightface fetches a pack that it does not find; here files are opened directly and nothing is ever fetched. Its own
classes say how each model's pixels are scaled. To be called in a process of its own, see `isolated.py`.
"""

from pathlib import Path

import onnxruntime
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.attribute import Attribute

from speech2face.face_networks.files import onnx_graph
from speech2face.face_networks.files.isolated import failure
from speech2face.face_networks.files.saving import save

USUAL_PACK = "buffalo_l"
RECOGNITION_SIZE_PX = 112
ATTRIBUTES_SIZE_PX = 96


def convert_recognition(folder: Path, directory: str) -> str:
    """Save the recognition model in the form that `arcface.open_arcface` opens; returns its digest.

    Raises:
        FileNotFoundError: no such model; the message says which is missing and where it goes.
        ValueError: a model that is damaged, or that `onnx_graph.read` refuses.
    """
    path = _find(folder, "recognition", "w600k_r50.onnx", RECOGNITION_SIZE_PX)
    return _convert(path, "arcface", ArcFaceONNX, directory)


def convert_age_sex(folder: Path, directory: str) -> str:
    """Save the model of age and sex for `arcface.open_age_sex`. Returns and raises as `convert_recognition`."""
    path = _find(folder, "age and sex", "genderage.onnx", ATTRIBUTES_SIZE_PX)
    return _convert(path, "age_sex", Attribute, directory)


def _convert(path: Path, kind: str, reference_class: type[ArcFaceONNX] | type[Attribute], directory: str) -> str:
    try:
        graph, weights = onnx_graph.read(path)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        reference = reference_class(str(path), session=session)
    except MemoryError:
        raise
    except Exception as error:  # those of onnxruntime have no common class
        raise ValueError(f"{path.name}: {failure(error)}") from error
    scaling = {"input_mean": float(reference.input_mean), "input_std": float(reference.input_std)}
    return save(Path(directory), weights, {"kind": kind, "graph": graph, **scaling})


def _find(directory: Path, task: str, usual_file: str, size_px: int) -> Path:
    """The one model of a pack with a size_px x size_px input and one output, whatever its name; other files may be damaged."""
    found, damaged = [], []
    for path in sorted(directory.glob("*.onnx")):
        try:
            if _input_size(path) == size_px:
                found.append(path)
        except ValueError as error:
            damaged.append(f"{path.name}: {error}")
    if len(found) > 1:
        raise ValueError(f"two {task} models, {found[0].name} and {found[1].name}; keep one")
    if not found and damaged:
        raise ValueError(damaged[0])
    if not found:
        raise FileNotFoundError(
            f"no {task} model ({usual_file} or another .onnx with a {size_px} x {size_px} input) in {directory.absolute()}: unzip "
            f"insightface's model pack there (its usual one is {USUAL_PACK}); nothing is downloaded by itself"
        )
    return found[0]


def _input_size(path: Path) -> int:
    """Side of a model's square input; 0 for any other input, and for several outputs, as the detectors have."""
    graph = onnx_graph.read_model(path).graph
    if len(onnx_graph.inputs(graph)) != 1 or len(graph.output) != 1:
        return 0
    sizes = [size.dim_value for size in onnx_graph.inputs(graph)[0].type.tensor_type.shape.dim]
    return sizes[2] if len(sizes) == 4 and sizes[2] == sizes[3] else 0
