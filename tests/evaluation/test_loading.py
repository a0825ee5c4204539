"""From tiny tables of HQ-VoxCeleb's layout and untrained networks to what is evaluated."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from speech2face.audio.table import spectrograms_schema
from speech2face.corpus.manifest import COLUMNS, attribute_roles, write_manifest
from speech2face.corpus.splits import write_splits
from speech2face.evaluation.loading import attribute_table, file_digests, load_inputs, picture_reader
from speech2face.face_networks.table import features_schema
from speech2face.faces.pictures import encode_jpeg
from speech2face.faces.table import FACES
from speech2face.measures.aligned import align
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import save_network
from speech2face.pipeline.params import load_params
from speech2face.pipeline.rejects import REJECTS
from speech2face.pipeline.shards import write_shard, write_table
from speech2face.speaker_networks.table import embeddings_schema

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
SPEAKERS = {"id0": "test", "id1": "test", "id2": "test", "id3": "train", "id4": "train"}  # id2 has no face


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folders `data` and `models`: two clips of every speaker, and two photographs of all but one in a video of their own."""
    root, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    clips, sounds, faces = [], [], []
    for speaker in SPEAKERS:
        for video in ("a", "b"):
            common = {"clip_id": f"{speaker}/{video}/1", "speaker_id": speaker}
            clips.append(common)
            spectrogram = rng.normal(size=(2, 257, 601)).astype(np.float16)
            sounds.append(
                common | {"segment": 0, "start_s": 0.0, "duration_s": 6.0, "spectrogram": spectrogram},
            )
        if speaker != "id2":
            common = {"clip_id": f"{speaker}/hq/faces", "speaker_id": speaker}
            clips.append(common)
            features = rng.normal(size=(2, 128)).astype(np.float32)
            faces += [common | {"face_id": f"{speaker}/hq/{n}", "feature": f} for n, f in enumerate(features)]
    empty = {"source": "test", "image_paths": [], "image_sha256": [], "image_bytes": []}
    rows = [{name: (empty | clip).get(name) for name in COLUMNS.names} for clip in clips]
    (root / "data/corpus").mkdir(parents=True)
    write_manifest(root / "data/corpus/manifest.parquet", [pa.Table.from_pylist(rows, COLUMNS)], COLUMNS)
    write_shard(root / "data/spectrograms/shard-a.parquet", sounds, spectrograms_schema(601), {})
    write_shard(root / "data/features/shard-a.parquet", faces, features_schema(128), {})
    write_splits(root / "data/speakers.parquet", SPEAKERS)
    reject = {"item": "id0/a/2", "stage": "crop_faces", "reason": "no_face", "message": "none"}
    write_table(root / "data/rejects/crop_faces.parquet", pa.Table.from_pylist([reject], REJECTS))
    for name in ("encoder", "decoder"):
        (root / "models" / name).mkdir(parents=True)
    sizes = {"base_channels": 2, "feature_dim": 128, "hidden_dim": 16}
    save_network(VoiceEncoder(**sizes), root / "models/encoder/encoder", **sizes)
    sizes = {"feature_dim": 128, "texture": "linear", "first_dim": 20}
    decoder = FaceDecoder(**sizes)
    decoder.set_means(torch.rand(68, 2) * 150 + 30, torch.rand(3, 224, 224))
    save_network(decoder, root / "models/decoder/decoder", **sizes)
    return root, faces


def embeddings_of(digest: str, networks: tuple[str, ...] = ("campplus",)) -> dict[str, str]:
    made_from = {"weights": dict.fromkeys(networks, digest), "settings": {"networks": networks}}
    return {"ingredients": json.dumps(made_from)}


@pytest.fixture
def of_embeddings(run, tmp_path):
    """The same with an encoder of embeddings, and a table for it that the networks with weights "first" have made."""
    root, rng = tmp_path / "run", np.random.default_rng(1)
    shutil.copytree(run[0], root)
    rows = [
        {"clip_id": f"{speaker}/{video}/1", "speaker_id": speaker, "segment": 0, "start_s": 0.0}
        | {"duration_s": 6.0, "segment_s": 6.0, "embedding": rng.normal(size=(6, 7)).astype(np.float32)}
        for speaker in SPEAKERS
        for video in ("a", "b")
    ]
    write_shard(root / "data/embeddings/shard-a.parquet", rows, embeddings_schema(6.0, 7), embeddings_of("first"))
    sizes = {"embedding_dim": 7, "feature_dim": 128, "hidden_dim": 8}
    about = {"segment_s": 6.0, "speaker_networks": {"campplus": "first"}}
    save_network(SpeakerEncoder(**sizes), root / "models/encoder/encoder", about, **sizes)
    return root, rows


def test_an_encoder_of_embeddings_hears_their_table(of_embeddings):
    root, rows = of_embeddings
    inputs = load_inputs(root / "data", root / "models", with_target("speaker"), CPU)
    assert inputs.heard_by_encoder == {"voxceleb"} and inputs.source == "synthetic"
    assert inputs.description["Voice encoder"] == "speaker embeddings (campplus)"
    assert list(inputs.predicted) == ["6 s", "3 s", "1.5 s"]
    table = inputs.voices["speaker_embedding"]
    heard = {row["clip_id"]: row["embedding"][0] for row in rows}
    assert set(table.index) == {clip for clip in heard if not clip.startswith("id2")}
    np.testing.assert_allclose(table.to_numpy(), [heard[clip] for clip in table.index])
    align(inputs)


def test_who_taught_the_published_network_is_named(run, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(run[0], root)
    sizes = {"base_channels": 2, "feature_dim": 128, "hidden_dim": 16}
    about = {"segment_s": 6.0, "speaker_networks": {"campplus": "first"}}
    save_network(VoiceEncoder(**sizes), root / "models/encoder/encoder", about, **sizes)
    inputs = load_inputs(root / "data", root / "models", with_target("speaker"), CPU)
    assert inputs.heard_by_encoder == {"voxceleb"}
    assert inputs.description["Voice encoder"] == "the published network (spectrograms, taught by campplus)"


def test_embeddings_of_other_weights_are_one_clear_line(of_embeddings):
    root, rows = of_embeddings
    write_shard(root / "data/embeddings/shard-a.parquet", rows, embeddings_schema(6.0, 7), embeddings_of("second"))
    with pytest.raises(
        ValueError, match=r"made by campplus \(second\) and the encoder learned from campplus \(first\)"
    ):
        load_inputs(root / "data", root / "models", PARAMS, CPU)


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
    assert inputs.rejects["item"].tolist() == ["id0/a/2"]


def test_without_the_parameter_no_clip_has_a_face_of_its_own(run):
    root, _ = run
    with pytest.raises(ValueError, match="no clip of the test split has a face of its video"):
        load_inputs(root / "data", root / "models", with_target("video"), CPU)


def manifest_of(**columns):
    table = pa.table({"clip_id": ["id1/v/1", "id2/v/1"], **columns})
    return table.replace_schema_metadata({"attribute_roles": '{"sex": "linked"}'})


def test_attributes_of_a_manifest():
    kind = pa.struct([("age_years", pa.float64()), ("sex", pa.string())])
    values = [{"age_years": 30.5, "sex": "f"}, {"age_years": 20.0, "sex": None}]
    manifest = manifest_of(attributes=pa.array(values, kind))
    table = attribute_table(manifest)
    assert table.loc["id1/v/1"].to_dict() == {"age_years": 30.5, "sex": "f"}
    assert table["sex"].isna().tolist() == [False, True]
    assert attribute_roles(manifest) == {"sex": "linked"}


def test_a_manifest_without_attributes_has_an_empty_table():
    assert attribute_table(manifest_of()).shape == (2, 0)


def test_digests_are_those_of_all_files():
    images = pa.array([["c", "d"], []], pa.list_(pa.string()))
    manifest = manifest_of(audio_sha256=["a", None], video_sha256=[None, "b"], image_sha256=images)
    assert file_digests(manifest) == {"id1/v/1": ["a", "c", "d"], "id2/v/1": ["b"]}


def test_pictures_are_found_by_id(tmp_path):
    names = [f"id1/v/{i}" for i in range(40)]
    crops = [np.full((224, 224, 3), 6 * i, np.uint8) for i in range(40)]
    rest = {"frame": 0, "box": [0, 0, 1, 1], "confidence": 1.0, "landmarks": np.zeros((68, 2), np.float32)}
    rest |= {
        "clip_id": "id1/v/1",
        "speaker_id": "id1",
        "yaw_deg": 0.0,
        "sharpness": 0.0,
        "inside": [-0.5, -0.5, 223.5, 223.5],
    }
    rows = [{"face_id": name, **rest, "image": encode_jpeg(crop, 95)} for name, crop in zip(names, crops, strict=True)]
    write_shard(tmp_path / "shard-a.parquet", rows, FACES, {})
    read = picture_reader(tmp_path)
    found = read([names[30], names[2]])
    assert [int(picture.mean().round()) for picture in found] == [180, 12]
    with pytest.raises(ValueError, match="no picture of face id9/v/1"):
        read(["id9/v/1"])
