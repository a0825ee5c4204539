"""Reading and aligning what is evaluated."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from speech2face.evaluation.inputs import align, attribute_table, file_digests, picture_reader, read_faces, read_rejects

from speech2face.corpus.manifest import attribute_roles
from speech2face.face_networks.table import features_schema
from speech2face.faces.pictures import encode_jpeg
from speech2face.faces.table import FACES
from speech2face.pipeline.rejects import REJECTS
from speech2face.pipeline.shards import write_shard, write_table
from tests.evaluation.simulated import simulate


def test_means_are_over_videos_then_over_speakers():
    inputs = simulate(20, videos=2)
    faces = inputs.faces
    extra = replace(  # a third face, in the first speaker's first video
        faces,
        face_ids=["id00000/video0/0000002", *faces.face_ids],
        speaker_ids=["id00000", *faces.speaker_ids],
        splits=["test", *faces.splits],
        features=np.concatenate([faces.features[:1] + 2, faces.features]),
    )
    aligned = align(replace(inputs, faces=extra))
    first, second = faces.features[0].astype(float), faces.features[1].astype(float)
    assert np.allclose(aligned.true[0], first + 1)
    assert np.allclose(aligned.gallery[0], (first + 1 + second) / 2)
    assert aligned.speakers == [f"id{i:05d}" for i in range(8)]
    assert aligned.clips["speaker"].tolist() == np.arange(8).repeat(2).tolist()


def test_training_rows_are_of_training_speakers_with_a_face():
    inputs = simulate(20)
    aligned = align(inputs)
    assert set(aligned.training["speaker_id"]) == {f"id{i:05d}" for i in range(13, 20)}
    assert np.array_equal(aligned.training_true, aligned.means[aligned.training["video_row"]])


def test_a_clip_whose_video_has_no_face_is_set_beside_its_speakers_mean():
    inputs = simulate(20, videos=3)
    features = inputs.faces.features.astype(float)
    lost = [0, 59]  # the first video of the first test speaker, the last of the last training speaker
    kept = [row for row in range(60) if row not in lost]
    faces = inputs.faces
    columns = {n: [getattr(faces, n)[row] for row in kept] for n in ("face_ids", "speaker_ids", "splits")}
    aligned = align(replace(inputs, faces=replace(faces, features=faces.features[kept], **columns)))
    assert aligned.clips["video_row"].tolist() == [-1, *range(23)]
    assert np.allclose(aligned.true[0], features[1:3].mean(0))
    assert np.allclose(aligned.true[1:], features[1:24])
    assert aligned.training["video_row"].tolist() == [*range(38, 58), -1]
    assert np.allclose(aligned.training_true[-1], features[57:59].mean(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: replace(i, clip_ids=["id99999/video0/1", *i.clip_ids[1:]]), "its speaker has no face"),
        (lambda i: replace(i, clip_ids=["id00019/video0/1", *i.clip_ids[1:]]), "its speaker is in the train split"),
        (lambda i: replace(i, predicted={"3 s": i.predicted["6 s"][:, 1:]}), r"at 3 s must be \[16, 32\]"),
        (lambda i: replace(i, predicted={"6 s": i.predicted["6 s"] * np.nan}), "NaN or infinity"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        align(change(simulate(20)))


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


def test_faces_pictures_and_rejects_from_shards(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"id1/v/{i}" for i in range(40)]  # several row groups
    common = {"clip_id": "id1/v/1", "speaker_id": "id1", "split": "test"}
    features = [{"face_id": name, **common, "feature": rng.normal(size=4).astype(np.float32)} for name in names]
    write_shard(tmp_path / "features" / "shard-a.parquet", features, features_schema(4), "f")
    faces = read_faces(tmp_path / "features")
    assert faces.face_ids == names
    assert np.array_equal(faces.features, np.stack([row["feature"] for row in features]))

    crops = [np.full((224, 224, 3), 6 * i, np.uint8) for i in range(40)]
    rest = {"frame": 0, "box": [0, 0, 1, 1], "confidence": 1.0, "landmarks": np.zeros((68, 2), np.float32)}
    rows = [
        {"face_id": name, **common, **rest, "image": encode_jpeg(crop, 95), "yaw_deg": 0.0, "sharpness": 0.0}
        for name, crop in zip(names, crops, strict=True)
    ]
    write_shard(tmp_path / "faces" / "shard-a.parquet", rows, FACES, "f")
    read = picture_reader(tmp_path / "faces")
    found = read([names[30], names[2]])
    assert [int(picture.mean().round()) for picture in found] == [180, 12]
    with pytest.raises(ValueError, match="no picture of face id9/v/1"):
        read(["id9/v/1"])

    reject = {"item": "id1/v/9", "stage": "crop_faces", "reason": "no_face", "message": "none"}
    write_table(tmp_path / "faces" / "rejects.parquet", pa.Table.from_pylist([reject], REJECTS))
    assert read_rejects([tmp_path / "features", tmp_path / "faces"]).to_dict("records") == [reject]
    assert read_rejects([tmp_path / "features"]).empty
