"""Train the voice encoder: from a spectrogram to the features of the speaker's face."""

from pathlib import Path

from speech2face.audio.table import table_segment_s
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.head import LinearHead
from speech2face.models.weight_files import load_network, save_network
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.machine import device
from speech2face.pipeline.params import Params
from speech2face.pipeline.provenance import file_digest
from speech2face.pipeline.shards import shard_names
from speech2face.pipeline.stage import run_stage
from speech2face.predict import INPUT_NAME
from speech2face.training.encoder import train_encoder
from speech2face.training.loop import Clock, run_fingerprint
from speech2face.training.pairs import read_targets


def main(params: Params) -> str:
    clock, results, features = Clock(), Path("results/encoder"), Path("data/features")
    settings = params.encoder.model_dump()
    decoder, head = load_network(FaceDecoder, "models/decoder/decoder"), load_network(LinearHead, features / "head")
    inputs = [
        *shard_names(Path("data/spectrograms"), features),
        *(file_digest(Path(f"{name}.safetensors")) for name in ("models/decoder/decoder", "data/features/head")),
    ]
    fingerprint = run_fingerprint(__file__, settings | {"lr": params.lr}, params.seed, inputs)
    targets, spectrograms = read_targets(features, settings["target"]), Path("data/spectrograms")
    frozen = decoder.f_dec, head
    network, metrics = train_encoder(
        settings, params.lr, params.seed, spectrograms, targets, *frozen, device(), fingerprint, results / "live"
    )
    Path("models/encoder").mkdir(parents=True, exist_ok=True)
    dimensions = {"base_channels": settings["base_channels"], "hidden_dim": settings["hidden_dim"]}
    save_network(network, "models/encoder/encoder", feature_dim=decoder.feature_dim, **dimensions)
    write_json(Path("models/encoder") / INPUT_NAME, {"segment_s": table_segment_s(spectrograms)})
    write_json(results / "metrics.json", metrics)
    epochs = f"best epoch {metrics['best_epoch']} of {settings['epochs']}"
    return f"train_encoder: {metrics['clips']} clips in, {metrics['clips_without_face']} without a face, {epochs}, {clock.seconds():.1f} s"


if __name__ == "__main__":
    run_stage(main, __doc__)
