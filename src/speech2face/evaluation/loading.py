"""From the files of a run to what is evaluated."""

from pathlib import Path

import torch

from speech2face.corpus.manifest import MANIFEST_NAME, attribute_roles, read_manifest
from speech2face.evaluation.inputs import (
    Inputs,
    attribute_table,
    file_digests,
    picture_reader,
    read_faces,
    read_rejects,
)
from speech2face.evaluation.networks import decode_with, embed_with, predict_test_clips
from speech2face.evaluation.second_opinion import load_judge
from speech2face.face_networks.backends import load_backend
from speech2face.measures.baselines import describe_voices
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import load_network
from speech2face.pipeline.params import Params
from speech2face.training.pairs import Pairs, read_targets

TABLES = ("corpus", "spectrograms", "faces", "features")


def load_inputs(data: Path, models: Path, params: Params, device: torch.device) -> Inputs:
    """Read the tables below `data` and the networks below `models`, and let the encoder hear the test clips.

    Raises ValueError or FileNotFoundError, with the stage to run, where something is missing.
    """
    corpus, spectrograms, faces, features = (data / name for name in TABLES)
    manifest, targets = read_manifest(corpus / MANIFEST_NAME), read_targets(features, params.encoder.target)
    encoder = load_network(VoiceEncoder, models / "encoder" / "encoder")
    decoder = load_network(FaceDecoder, models / "decoder" / "decoder")
    clips = Pairs(spectrograms, targets, "test")
    clip_ids, predicted = predict_test_clips(encoder, clips, params.audio.segment_s, device)
    return Inputs(
        clip_ids,
        predicted,
        read_faces(features),
        attribute_table(manifest),
        attribute_roles(manifest),
        decode=decode_with(decoder, device),
        embed=embed_with(load_backend(params.features), device),
        pictures=picture_reader(faces),
        judge=load_judge(params.evaluation.second_opinion, device),
        voices=describe_voices(spectrograms, targets),
        rejects=read_rejects([corpus, spectrograms, faces, features]),
        digests=file_digests(manifest),
        description={"Corpus": params.corpus.source, "Face features": params.features.backend},
        num_without_face=clips.num_without_face,
    )
