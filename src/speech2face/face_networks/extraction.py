"""From face crops to rows of the feature table."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speech2face.face_networks.backends import Backend, open_backend
from speech2face.faces.pictures import decode_jpeg
from speech2face.pipeline.params import Features
from speech2face.pipeline.shards import iterate_rows

BATCH = 16
COPIED = ("face_id", "clip_id", "speaker_id")


def to_crops(images: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 RGB pictures [H, W, 3] to float32 [B, 3, H, W] in 0..1."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


@torch.inference_mode()
def feature_shard(
    rows: Sequence[dict[str, Any]], settings: Features, context: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Rows of the feature table for the face shards that `rows` name.

    Args:
        rows: {"shard": name of a shard of the face table, "content": digest of what it holds}.
        settings: `backend` and `layer` are read.
        context: `faces`, the folder of the face table; `weights`, what `backends.converted_weights` returned; `device`.
    """
    device = context["device"]
    backend = _backend(settings.backend, settings.layer, context["weights"], device)
    for row in rows:
        faces = iterate_rows(Path(context["faces"]) / row["shard"], [*COPIED, "image", "landmarks"])
        while batch := list(islice(faces, BATCH)):
            crops = to_crops([decode_jpeg(face["image"]) for face in batch]).to(device)
            landmarks = torch.from_numpy(np.stack([face["landmarks"] for face in batch])).to(device)
            features = backend.embed(crops, landmarks).float().cpu().numpy()
            for face, feature in zip(batch, features, strict=True):
                yield {**{name: face[name] for name in COPIED}, "feature": feature}


@cache
def _backend(backend: str, layer: str, weights: Path | None, device: torch.device) -> Backend:
    return open_backend(backend, layer, weights).to(device)
