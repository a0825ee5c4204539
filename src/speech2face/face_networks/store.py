"""Weight files are read once: a public file is converted in a process of its own, and the result is kept.

`$DVC_ROOT/.work/weights/` holds `<digest>.safetensors`, named by the digest of its content, which is what enters
fingerprints: a file that has moved, or that holds the same weights in another format, recomputes nothing. Beside it,
`<key>.json` says which digest a source came to, so that a source is converted again only if its bytes, its reader or a
library that reads it have changed. Both can be deleted; then they are made again.
"""

import json
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from speech2face.face_networks.converted import SUFFIX
from speech2face.face_networks.files.isolated import run_isolated
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.provenance import code_digest, file_digest, json_digest
from speech2face.pipeline.work import work_directory

READERS = {
    "vgg_face": ("vgg_face", "convert"),
    "arcface": ("insightface_pack", "convert_recognition"),
    "age_sex": ("insightface_pack", "convert_age_sex"),
}
"""Modules below `files/`, and their functions. Names, so that no reader becomes part of the code that uses the weights."""
LIBRARIES = ("numpy", "torch", "h5py", "scipy", "onnx", "onnxruntime", "insightface")


def converted(network: str, source: Path) -> Path:
    """The converted file of a network, made now if it is not there.

    Args:
        network: one of `READERS`.
        source: the file, or the folder of .onnx files, that its reader takes.

    Raises:
        ValueError, FileNotFoundError: what the reader refuses.
        RuntimeError: too little memory, no process can be started, or the file cannot be written.
    """
    module, function = READERS[network]
    directory = work_directory() / "weights"
    key = {
        "network": network,
        "source": _source_digest(source),
        "readers": _readers_digest(module),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    index = directory / f"{json_digest(key)}.json"
    with suppress(FileNotFoundError, ValueError, KeyError):  # not converted yet, or a damaged index
        path = directory / f"{json.loads(index.read_text('utf-8'))['digest']}{SUFFIX}"
        if path.is_file():
            return path
    digest = run_isolated(f"speech2face.face_networks.files.{module}:{function}", source, str(directory))
    write_json(index, key | {"digest": digest})
    return directory / f"{digest}{SUFFIX}"


def _source_digest(source: Path) -> str:
    if not source.is_dir():
        return file_digest(source)
    return json_digest({path.name: file_digest(path) for path in source.glob("*.onnx") if path.is_file()})


def _readers_digest(module: str) -> str:
    return code_digest(Path(__file__).with_name("files") / f"{module}.py")
