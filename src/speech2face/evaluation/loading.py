"""From the files of a run to what is evaluated."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from speech2face.corpus.manifest import MANIFEST_NAME, attribute_roles, read_manifest
from speech2face.corpus.splits import read_splits
from speech2face.evaluation.faces import read_faces
from speech2face.evaluation.networks import decode_with, embed_with, predict_test_clips
from speech2face.evaluation.second_opinion import load_judge
from speech2face.evaluation.voices import describe_embeddings, describe_voices
from speech2face.face_networks.backends import load_backend
from speech2face.faces.pictures import decode_jpeg
from speech2face.measures.inputs import Inputs, Pictures
from speech2face.models.encoders import Encoder, load_encoder, read_stretch
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.speaker_encoder import SpeakerEncoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import load_network, read_about
from speech2face.pipeline.params import Params
from speech2face.pipeline.rejects import read_rejects
from speech2face.pipeline.shards import shard_paths
from speech2face.speaker_networks.backends import may_have_heard
from speech2face.speaker_networks.table import describe_networks, table_weights
from speech2face.training.pairs import Pairs, read_targets


def load_inputs(data: Path, models: Path, params: Params, device: torch.device) -> Inputs:
    """Read the tables below `data` and the networks below `models`, and let the encoder hear the test clips.

    Raises ValueError or FileNotFoundError, with the stage to run, where something is missing.
    """
    spectrograms, features = data / "spectrograms", data / "features"
    manifest, splits = read_manifest(data / "corpus" / MANIFEST_NAME), read_splits(data / "speakers.parquet")
    targets = read_targets(features, splits, params.encoder.target)
    encoder = load_encoder(models)
    decoder = load_network(FaceDecoder, models / "decoder" / "decoder")
    heard = table_heard(encoder, data, models)
    clips = Pairs(heard, targets, "test")
    voices = describe_voices(spectrograms, targets)
    if isinstance(encoder, SpeakerEncoder):
        voices["speaker_embedding"] = describe_embeddings(heard, targets)
    clip_ids, predicted = predict_test_clips(encoder, clips, params.audio.segment_s, device)
    return Inputs(
        clip_ids,
        predicted,
        read_faces(features, splits),
        attribute_table(manifest),
        attribute_roles(manifest),
        decode=decode_with(decoder, device),
        embed=embed_with(load_backend(params.features), device),
        pictures=picture_reader(data / "faces"),
        judge=load_judge(params.evaluation.second_opinion, device),
        voices=voices,
        rejects=read_rejects(data / "rejects").to_pandas(),
        digests=file_digests(manifest),
        description={
            "Corpus": params.corpus.source,
            "Face features": params.features.backend,
            "Voice encoder": _in_words(encoder, models),
        },
        num_without_face=clips.num_without_face,
        reader=params.features.backend,
        reader_taught_decoder=taught_by_features(models),
        source=params.corpus.source,
        heard_by_encoder=heard_by(models),
        stretch=read_stretch(models),
    )


def table_heard(encoder: Encoder, data: Path, models: Path) -> Path:
    """The table that an encoder hears. Raises ValueError if it was made by other speaker networks than the encoder learned from."""
    if isinstance(encoder, VoiceEncoder):
        return data / "spectrograms"
    learned = speaker_networks(models)
    if (found := table_weights(data / "embeddings")) != learned:
        raise ValueError(
            f"{data / 'embeddings'} was made by {describe_networks(found)} and the encoder learned from {describe_networks(learned)}; "
            "run: dvc repro"
        )
    return data / "embeddings"


def taught_by_features(models: Path) -> bool:
    """Whether the network of the features had a part in training the decoder; True where the decoder does not say."""
    made_from = read_about(models / "decoder" / "decoder.safetensors").get("ingredients", {})
    weights = made_from.get("settings", {}).get("weights", {})
    return bool(weights.get("embedding", 1.0) > 0)


def heard_by(models: Path) -> frozenset[str]:
    """The corpora that the frozen networks were trained on which an encoder hears through or was taught by."""
    return may_have_heard(list(speaker_networks(models)))


def speaker_networks(models: Path) -> dict[str, str]:
    """The speaker networks that the encoder in `models` learned from, if any, and the digests of their weights."""
    found: dict[str, str] = read_about(models / "encoder" / "encoder.safetensors").get("speaker_networks", {})
    return found


def _in_words(encoder: Encoder, models: Path) -> str:
    if isinstance(encoder, SpeakerEncoder):
        return f"speaker embeddings ({', '.join(speaker_networks(models))})"
    teachers = ", ".join(speaker_networks(models))
    return f"the published network (spectrograms{teachers and f', taught by {teachers}'})"


def attribute_table(manifest: pa.Table) -> pd.DataFrame:
    """The attributes of a manifest, one row a clip, indexed by clip_id."""
    clips = pd.Index(manifest["clip_id"].to_pylist())
    if "attributes" not in manifest.column_names:
        return pd.DataFrame(index=clips)
    return pd.DataFrame(manifest["attributes"].to_pylist(), index=clips)


def file_digests(manifest: pa.Table) -> dict[str, list[str]]:
    """SHA-256 of every file of each clip of a manifest, by clip_id."""
    columns = zip(
        *(manifest[name].to_pylist() for name in ("clip_id", "audio_sha256", "video_sha256", "image_sha256")),
        strict=True,
    )
    return {clip: [d for d in (audio, video, *images) if d] for clip, audio, video, images in columns}


def picture_reader(directory: Path) -> Pictures:
    """Reads face crops by id from the shards of `directory`; only the row groups that hold them are decoded."""

    def read(face_ids: Sequence[str]) -> list[np.ndarray]:
        wanted, found = set(face_ids), {}
        for path in shard_paths(directory):
            table = pq.read_table(path, columns=["face_id", "image"], filters=[("face_id", "in", wanted)])
            for face_id, image in zip(table["face_id"].to_pylist(), table["image"].to_pylist(), strict=True):
                found[face_id] = decode_jpeg(image)
        if missing := sorted(wanted - set(found)):
            raise ValueError(
                f"{directory} has no picture of face {missing[0]}; run the stage again: dvc repro crop_faces"
            )
        return [found[face_id] for face_id in face_ids]

    return read
