"""From tiny tables of HQ-VoxCeleb's layout and untrained networks to what is evaluated."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from speech2face.corpus.manifest import COLUMNS, write_manifest
from speech2face.evaluation.inputs import align
from speech2face.evaluation.loading import load_inputs
from speech2face.face_networks.table import features_schema
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import save_network
from speech2face.pipeline.params import load_params
from speech2face.pipeline.shards import SPECTROGRAMS, write_shard

CPU = torch.device("cpu")
PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
SPEAKERS = {"id0": "test", "id1": "test", "id2": "test", "id3": "train", "id4": "train"}  # id2 has no face


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folders `data` and `models`: two clips of every speaker, and two photographs of all but one in a video of their own."""
    root, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    clips, sounds, faces = [], [], []
    for speaker, split in SPEAKERS.items():
        for video in ("a", "b"):
            common = {"clip_id": f"{speaker}/{video}/1", "speaker_id": speaker, "split": split}
            clips.append(common)
            spectrogram = rng.normal(size=(2, 257, 601)).astype(np.float16)
            sounds.append(
                common | {"segment": 0, "start_s": 0.0, "duration_s": 6.0, "spectrogram": spectrogram},
            )
        if speaker != "id2":
            common = {"clip_id": f"{speaker}/hq/faces", "speaker_id": speaker, "split": split}
            clips.append(common)
            features = rng.normal(size=(2, 128)).astype(np.float32)
            faces += [common | {"face_id": f"{speaker}/hq/{n}", "feature": f} for n, f in enumerate(features)]
    empty = {"source": "test", "image_paths": [], "image_sha256": [], "image_bytes": []}
    rows = [{name: (empty | clip).get(name) for name in COLUMNS.names} for clip in clips]
    write_manifest(root / "data/corpus/manifest.parquet", pa.Table.from_pylist(rows, COLUMNS))
    write_shard(root / "data/spectrograms/shard-a.parquet", sounds, SPECTROGRAMS, "f")
    write_shard(root / "data/features/shard-a.parquet", faces, features_schema(128), "f")
    for name in ("encoder", "decoder"):
        (root / "models" / name).mkdir(parents=True)
    sizes = {"base_channels": 2, "feature_dim": 128, "hidden_dim": 16}
    save_network(VoiceEncoder(**sizes), root / "models/encoder/encoder", **sizes)
    sizes = {"feature_dim": 128, "texture": "linear", "first_dim": 20}
    decoder = FaceDecoder(**sizes)
    decoder.set_means(torch.rand(68, 2) * 150 + 30, torch.rand(3, 224, 224))
    save_network(decoder, root / "models/decoder/decoder", **sizes)
    return root, faces


def with_target(target: str):
    return PARAMS.model_copy(update={"encoder": PARAMS.encoder.model_copy(update={"target": target})})


def test_faces_of_speakers_are_the_targets_that_the_parameters_ask_for(run):
    root, faces = run
    inputs = load_inputs(root / "data", root / "models", with_target("speaker"), CPU)
    assert inputs.clip_ids == ["id0/a/1", "id0/b/1", "id1/a/1", "id1/b/1"]
    assert inputs.num_without_face == 2
    assert inputs.predicted["6 s"].shape == (4, 128)
    heard = [f"{speaker}/{video}/1" for speaker in ("id0", "id1", "id3", "id4") for video in ("a", "b")]
    assert list(inputs.voices["f0"].index) == heard
    aligned = align(inputs)
    means = [np.mean([face["feature"] for face in faces if face["speaker_id"] == s], axis=0) for s in ("id0", "id1")]
    assert np.allclose(aligned.true, np.repeat(means, 2, axis=0))


def test_without_the_parameter_no_clip_has_a_face_of_its_own(run):
    root, _ = run
    with pytest.raises(ValueError, match="no clip of the test split has a face of its video"):
        load_inputs(root / "data", root / "models", with_target("video"), CPU)
