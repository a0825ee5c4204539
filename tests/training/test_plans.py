"""What each of the two trainings is made from."""

from pathlib import Path

import numpy as np
import pytest

from speech2face.corpus.splits import write_splits
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.head import LinearHead
from speech2face.models.weight_files import save_network
from speech2face.pipeline.params import Params, load_params
from speech2face.training.plans import plan_encoder
from tests.training.tables import clip_row, feature_row, write_clips, write_features

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    write_clips(tmp_path / "spectrograms", [clip_row("a/v/0", np.zeros((2, 257, 4)))])
    write_clips(tmp_path / "embeddings", [clip_row("a/v/0", np.ones((2, 257, 4)))])
    write_features(tmp_path / "features", [feature_row("a/v/0", [1, 2])])
    write_splits(tmp_path / "speakers.parquet", {"a": "train"})
    decoder = {"feature_dim": 2, "first_dim": 4, "landmark_hidden_dim": 4, "texture_channels": 4}
    head = {"feature_dim": 2, "num_classes": 2}
    save_network(FaceDecoder(**decoder), tmp_path / "decoder/decoder", **decoder)
    save_network(LinearHead(**head), tmp_path / "head/head", **head)
    return tmp_path, tmp_path


def fingerprint(folders: tuple[Path, Path], **changes: object) -> str:
    return plan_encoder(changed(**changes), *folders).fingerprint


def changed(lr: float = PARAMS.lr, speaker: dict[str, object] | None = None, **encoder: object) -> Params:
    of_speaker = PARAMS.encoder.speaker_embedding.model_copy(update=speaker or {})
    settings = PARAMS.encoder.model_copy(update={**encoder, "speaker_embedding": of_speaker})
    return PARAMS.model_copy(update={"lr": lr, "encoder": settings})


def test_settings_of_the_other_network_train_nothing_again(folders: tuple[Path, Path]):
    published, other = fingerprint(folders), fingerprint(folders, network="speaker_embedding")
    assert published != other
    assert fingerprint(folders, speaker={"lr": 0.5}) == published
    assert fingerprint(folders, network="speaker_embedding", lr=0.5) == other
    assert fingerprint(folders, network="speaker_embedding", epochs=3) == other


def test_settings_of_its_own_train_again(folders: tuple[Path, Path]):
    published, other = fingerprint(folders), fingerprint(folders, network="speaker_embedding")
    assert fingerprint(folders, lr=0.5) != published and fingerprint(folders, epochs=3) != published
    masks = PARAMS.encoder.spec_augment.model_copy(update={"time_frames": 20})
    for change in ({"weight_decay": 0.1}, {"patience": 3}, {"spec_augment": masks}):
        assert fingerprint(folders, **change) != published
        assert fingerprint(folders, network="speaker_embedding", **change) == other
    assert fingerprint(folders, network="speaker_embedding", speaker={"dropout": 0.1}) != other
    for network in ("published", "speaker_embedding"):
        assert fingerprint(folders, network=network, target="speaker") != fingerprint(folders, network=network)


def test_the_published_network_depends_on_embeddings_only_where_they_teach_it(folders: tuple[Path, Path]):
    taught = {"weights": PARAMS.encoder.weights.model_copy(update={"teacher": 0.5})}
    published, other = fingerprint(folders), fingerprint(folders, **taught)
    assert other != published
    write_clips(folders[0] / "embeddings", [clip_row("a/v/0", np.full((2, 257, 4), 2.0))])
    assert fingerprint(folders) == published
    assert fingerprint(folders, **taught) != other


def test_each_depends_on_the_table_that_it_hears(folders: tuple[Path, Path]):
    published, other = fingerprint(folders), fingerprint(folders, network="speaker_embedding")
    write_clips(folders[0] / "embeddings", [clip_row("a/v/0", np.full((2, 257, 4), 2.0))])
    assert fingerprint(folders) == published
    assert fingerprint(folders, network="speaker_embedding") != other
