"""The table of features: the network's own numbers for each face, in the order of the faces."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speech2face.face_networks import extraction
from speech2face.face_networks.extraction import BATCH_SIZE, feature_shard, to_crops
from speech2face.faces.pictures import decode_jpeg, encode_jpeg
from speech2face.faces.table import FACES
from speech2face.pipeline.params import load_params
from speech2face.pipeline.shards import write_shard

CPU = torch.device("cpu")
SETTINGS = load_params(Path(__file__).parents[2] / "params.yaml").features
NUM_FACES = (BATCH_SIZE + 5, 3)


class Colours:
    """In place of a network: the mean colour and the nose of each face; notes the sizes of the batches."""

    feature_dim = 5

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.room = 1000

    def embed(self, crops: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(crops))
        if len(crops) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return torch.cat([crops.mean((2, 3)), landmarks[:, 30]], 1)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Colours:
    found = Colours()
    monkeypatch.setattr(extraction, "_backend", lambda *_: found)
    return found


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A folder with two shards of faces, and all faces."""
    folder, rng, rows = tmp_path_factory.mktemp("faces"), np.random.default_rng(0), []
    for shard, count in enumerate(NUM_FACES):
        pixels = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8).repeat(28, 1).repeat(28, 2)
        of_shard = [
            {
                "face_id": f"s/v{shard}/{number:03}",
                "clip_id": f"s/v{shard}/1",
                "speaker_id": "s",
                "frame": number,
                "image": encode_jpeg(image, 90),
                "box": (0, 0, 223, 223),
                "inside": [0.0] * 4,
                "confidence": 1.0,
                "landmarks": rng.uniform(0, 223, (68, 2)).astype(np.float32),
                "yaw_deg": 0.0,
                "sharpness": 0.1,
            }
            for number, image in enumerate(pixels)
        ]
        write_shard(folder / f"shard-{shard}.parquet", of_shard, FACES, {})
        rows += of_shard
    return folder, rows


def features(folder: Path) -> list[dict[str, Any]]:
    shards = [{"shard": f"shard-{number}.parquet", "content": ""} for number in range(len(NUM_FACES))]
    return list(feature_shard(shards, SETTINGS, {"faces": str(folder), "weights": None, "device": CPU}))


def assert_of_each(found: list[dict[str, Any]], faces: list[dict[str, Any]]) -> None:
    assert [row["face_id"] for row in found] == [face["face_id"] for face in faces]
    assert all(row.keys() == {"face_id", "clip_id", "speaker_id", "feature"} for row in found)
    for row, face in zip(found, faces, strict=True):
        colour = decode_jpeg(face["image"]).mean((0, 1), dtype=np.float64) / 255
        np.testing.assert_allclose(row["feature"], [*colour, *face["landmarks"][30]], rtol=1e-5)


def test_each_face_has_its_features(faces, network: Colours):
    assert_of_each(features(faces[0]), faces[1])
    assert network.sizes == [BATCH_SIZE, 5, 3]  # the same batches as ever: the last bits of a sum depend on them


def test_batches_that_the_memory_does_not_hold_are_halved(faces, network: Colours):
    network.room = 4
    assert_of_each(features(faces[0]), faces[1])
    assert set(network.sizes) == {16, 8, 5, 4, 3, 2}


def test_a_network_that_fails_is_an_error_and_not_a_row(faces, network: Colours, monkeypatch: pytest.MonkeyPatch):
    def fails(crops: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        raise ValueError("crops must be in 0..1")

    monkeypatch.setattr(network, "embed", fails)
    with pytest.raises(ValueError, match=r"crops must be in 0\.\.1"):
        features(faces[0])


def test_crops_are_pixels_in_0_to_1():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    np.testing.assert_array_equal(to_crops(list(images)), np.float32(images.transpose(0, 3, 1, 2)) / np.float32(255))
