"""Where dlib's model files are, and the check that they are the ones this project was tested with."""

import hashlib
import importlib.util
from pathlib import Path

DETECTOR = "mmod_human_face_detector.dat"
EMBEDDER = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS = "shape_predictor_68_face_landmarks.dat"

SHA256 = {
    DETECTOR: "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
    EMBEDDER: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    LANDMARKS: "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
}
MAX_MODEL_BYTES = 256 * 2**20  # the largest known file has 95 MiB


def models_folder() -> Path:
    """The folder of model files inside the installed package `face_recognition_models`.

    The package is located, not imported: importing it needs `pkg_resources`, which new setuptools no longer has.

    Raises:
        ValueError: if the package is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise ValueError("the package face_recognition_models, which holds dlib's model files, is not installed")
    return Path(spec.origin).parent / "models"


def model_path(name: str, folder: Path | None = None) -> Path:
    """The path of a known model file, after its sha256 was checked.

    Args:
        name: a key of `SHA256`.
        folder: where to look; by default the installed package's folder.

    Raises:
        ValueError: for an unknown name, a missing file, or one with another sha256.
    """
    if name not in SHA256:
        raise ValueError(f"unknown dlib model {name!r}; known are {', '.join(SHA256)}")
    path = (models_folder() if folder is None else Path(folder)) / name
    read_model(path, SHA256[name])
    return path


def read_model(path: Path | str, sha256: str | None) -> bytes:
    """The bytes of a model file, checked against `sha256` (hexadecimal), or unchecked if that is None.

    Raises:
        ValueError: if the file is missing, larger than `MAX_MODEL_BYTES`, or has another sha256.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no dlib model file at {path}")
    with path.open("rb") as file:
        data = file.read(MAX_MODEL_BYTES + 1)
    if len(data) > MAX_MODEL_BYTES:
        raise ValueError(f"{path} is larger than a dlib model can be ({MAX_MODEL_BYTES} bytes)")
    if sha256 is not None:
        found = hashlib.sha256(data).hexdigest()
        if found != sha256.lower():
            raise ValueError(
                f"{path} has sha256 {found}, expected {sha256}; to use another file on purpose, pass its own sha256"
            )
    return data
