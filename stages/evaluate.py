"""Evaluate on unseen speakers: metrics, curves, pictures, report."""

from pathlib import Path

from speech2face.corpus.manifest import attribute_roles, read_manifest
from speech2face.evaluation.inputs import Inputs, attribute_table, file_digests, picture_reader, read_faces, read_rejects
from speech2face.evaluation.networks import decode_with, embed_with, predict_test_clips
from speech2face.evaluation.run import evaluate
from speech2face.features.backends import load_backend
from speech2face.machine import device
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weights_io import load_network
from speech2face.params import Params
from speech2face.stage import run_stage
from speech2face.training.loop import Clock
from speech2face.training.pairs import read_targets


def main(params: Params) -> str:
    clock, manifest, features, spectrograms = Clock(), read_manifest(), Path("data/features"), Path("data/spectrograms")
    encoder = load_network(VoiceEncoder, "models/encoder/encoder")
    decoder = load_network(FaceDecoder, "models/decoder/decoder")
    clip_ids, predicted = predict_test_clips(encoder, spectrograms, read_targets(features), params.audio.segment_s, device())
    inputs = Inputs(
        clip_ids,
        predicted,
        read_faces(features),
        attribute_table(manifest),
        attribute_roles(manifest),
        decode=decode_with(decoder, device()),
        embed=embed_with(load_backend(params.features), device()),
        pictures=picture_reader(Path("data/faces")),
        rejects=read_rejects([Path("data") / name for name in ("corpus", "spectrograms", "faces", "features")]),
        digests=file_digests(manifest),
        description={"Corpus": params.corpus.source, "Face features": params.features.backend},
    )
    metrics = evaluate(inputs, params.evaluation.model_dump(), params.seed, Path("results/evaluation"))
    recall = f"recall at 10 % of the gallery {metrics['recall_at_10_percent']['value']:.3f}"
    return f"evaluate: {len(clip_ids)} clips in, 0 rejects, {recall}, {clock.seconds():.1f} s"


if __name__ == "__main__":
    run_stage(main, __doc__)
