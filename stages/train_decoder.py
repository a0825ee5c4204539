"""Train the face decoder: from a face's features to a frontal, neutral face."""

from pathlib import Path

from speech2face.face_networks.backends import load_backend
from speech2face.models.weight_files import save_network
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.machine import device
from speech2face.pipeline.params import Params
from speech2face.pipeline.shards import shard_names
from speech2face.pipeline.stage import run_stage
from speech2face.training.canonical import canonical_faces
from speech2face.training.decoder import train_decoder
from speech2face.training.loop import Clock, run_fingerprint
from speech2face.training.pairs import read_targets


def main(params: Params) -> str:
    clock, results = Clock(), Path("results/decoder")
    settings = params.decoder.model_dump()
    faces = canonical_faces(Path("data/faces"), settings["frontal"])
    fingerprint = run_fingerprint(
        __file__, settings, params.seed, shard_names(Path("data/faces"), Path("data/features"))
    )
    backend = load_backend(params.features).to(device())
    network, metrics = train_decoder(
        settings,
        params.seed,
        faces,
        read_targets(Path("data/features")),
        backend,
        device(),
        fingerprint,
        results / "live",
    )
    Path("models/decoder").mkdir(parents=True, exist_ok=True)
    save_network(network, "models/decoder/decoder", feature_dim=network.feature_dim, texture=params.decoder.texture)
    write_json(results / "metrics.json", metrics | faces.counts())
    counts = f"{faces.num_photographs} photographs in, {len(faces.speaker_ids)} canonical faces, {faces.num_left_out} rejects"
    return f"train_decoder: {counts}, {clock.seconds():.1f} s"


if __name__ == "__main__":
    run_stage(main, __doc__)
