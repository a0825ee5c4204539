"""Weight files are read once: a public file is converted in a process of its own, and the result is kept.

`$DVC_ROOT/.work/weights/` holds `<digest>.safetensors`, named by the digest of its content, which is what enters
fingerprints: a file that has moved, or that holds the same weights in another format, recomputes nothing. Beside that
folder, `weight_sources/<key>.json` says which digest a source came to, so that a source is converted again only if its
bytes, its reader or a library that reads it have changed. Both can be deleted; then they are made again.
"""

import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from speech2face.face_networks.converted import SUFFIX
from speech2face.face_networks.files.isolated import run_isolated
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.code import PACKAGE, Sources
from speech2face.pipeline.provenance import file_digest, json_digest
from speech2face.pipeline.work import work_directory

READERS = {
    "vgg_face": "speech2face.face_networks.files.vgg_face:convert",
    "arcface": "speech2face.face_networks.files.insightface_pack:convert_recognition",
    "age_sex": "speech2face.face_networks.files.insightface_pack:convert_age_sex",
}
"""The functions that convert. Names, because they run in another process and this one does without what they import. A change of theirs
runs the stages that ask for weights again, and converts again; it computes nothing again if the weights come out as before."""


def converted(network: str, source: Path) -> Path:
    """The converted file of a face network, one of `READERS`, made now if it is not there. Arguments and errors as `converted_by`."""
    return converted_by(READERS[network], network, source)


def converted_by(reader: str, network: str, source: Path) -> Path:
    """The converted file of a network, made now if it is not there.

    Args:
        reader: the function that converts, as in `READERS`.
        network: its name.
        source: the file, or the folder of .onnx files, that its reader takes.

    Raises:
        ValueError, FileNotFoundError: what the reader refuses.
        RuntimeError: too little memory, no process can be started, or the file cannot be written.
    """
    source = _innermost(source)
    weights = work_directory() / "weights"
    key = {"network": network, "source": _source_digest(source), "reader": _reader_code(reader)}
    index = work_directory() / "weight_sources" / f"{json_digest(key)}.json"
    with suppress(OSError, ValueError, KeyError):  # not converted yet, or a damaged index
        path = weights / f"{json.loads(index.read_text('utf-8'))['digest']}{SUFFIX}"
        if path.is_file():
            return path
    digest = run_isolated(reader, source, str(weights))
    write_json(index, key | {"digest": digest})
    return weights / f"{digest}{SUFFIX}"


def _innermost(source: Path) -> Path:
    """Where a pack's models are: `buffalo_l.zip`, unzipped in a folder `buffalo_l`, may lie one folder deeper."""
    if source.is_dir() and not any(source.glob("*.onnx")):
        inner = {path.parent for path in source.glob("*/*.onnx")}
        if len(inner) == 1:
            return inner.pop()
    return source


def _source_digest(source: Path) -> str:
    if source.is_file():
        return _digest(source)
    return json_digest({path.name: _digest(path) for path in source.glob("*.onnx") if path.is_file()})


def _digest(path: Path) -> str:
    status = path.stat()
    return _digest_of(path.resolve(), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@cache
def _digest_of(path: Path, *stamp: int) -> str:
    """The file's digest, which is asked for several times in a stage and takes a second; `stamp` changes with the file."""
    return file_digest(path)


@cache
def _reader_code(reader: str) -> dict[str, Any]:
    module, _, function = reader.partition(":")
    return Sources(PACKAGE).reached([(module, function)]).as_dict()
