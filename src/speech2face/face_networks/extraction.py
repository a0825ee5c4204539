"""From face crops to rows of the feature table."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speech2face.face_networks.backends import Backend, open_backend
from speech2face.faces.pictures import decode_jpeg
from speech2face.pipeline.ahead import ahead
from speech2face.pipeline.batches import compute_in_batches, fetch, to_device
from speech2face.pipeline.params import Features
from speech2face.pipeline.shards import iterate_rows

BATCH_SIZE, GPU_BATCH_SIZE = 16, 128
CPU = torch.device("cpu")
COPIED = ("face_id", "clip_id", "speaker_id")


def to_crops(images: Sequence[np.ndarray], device: torch.device = CPU) -> torch.Tensor:
    """uint8 RGB pictures [H, W, 3] to float32 [B, 3, H, W] in 0..1, on `device`."""
    return to_device(torch.from_numpy(np.stack(images)), device).permute(0, 3, 1, 2).float().div_(255)


@torch.inference_mode()
def feature_shard(
    rows: Sequence[dict[str, Any]], settings: Features, context: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Rows of the feature table for the face shards that `rows` name. Threads read the crops before the network.

    Args:
        rows: {"shard": name of a shard of the face table, "content": digest of what it holds}.
        settings: `backend` and `layer` are read.
        context: `faces`, the folder of the face table; `weights`, what `backends.converted_weights` returned; `device`.
    """
    device = context["device"]
    begin = partial(_begin, _backend(settings.backend, settings.layer, context["weights"], device), device)
    size = BATCH_SIZE if device.type == "cpu" else GPU_BATCH_SIZE
    num_threads = torch.get_num_threads()
    for row in rows:
        faces = iterate_rows(Path(context["faces"]) / row["shard"], [*COPIED, "image", "landmarks"])
        read = ahead(_with_picture, faces, num_threads, size + 2 * num_threads)
        for face, feature in compute_in_batches(read, begin, size, lambda face: True):
            if isinstance(feature, Exception):
                raise feature
            yield {**{name: face[name] for name in COPIED}, "feature": feature}


def _with_picture(face: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**face, "image": decode_jpeg(face["image"])}]


def _begin(backend: Backend, device: torch.device, faces: Sequence[dict[str, Any]]) -> Callable[[], np.ndarray]:
    crops = to_crops([face["image"] for face in faces], device)
    landmarks = to_device(torch.from_numpy(np.stack([face["landmarks"] for face in faces])), device)
    return fetch(backend.embed(crops, landmarks).float())


@cache
def _backend(backend: str, layer: str, weights: Path | None, device: torch.device) -> Backend:
    return open_backend(backend, layer, weights).to(device)
