"""Rates with numbers that are easy to reckon with."""

from speech2face import __version__
from speech2face.estimate.model import STAGES
from speech2face.estimate.rates import Rate, Rates, settings_of
from speech2face.pipeline.params import load_params

OF_CORPUS = ("make_corpus", "segment_audio", "embed_voices", "crop_faces")
NUMBERS = {
    "feature_dim": 128.0,
    "decoder_step_s": 0.5,
    "decoder_validate_s": 0.01,
    "canonical_part": 0.5,
    "encoder_step_s": 0.25,
    "encoder_validate_s": 0.02,
    "evaluate_test_clip_s": 0.05,
    "clip_and_speaker_s": 1e-6,
    "two_speakers_s": 1e-5,
    "class_bytes": 500.0,
    "head_product_s": 1e-9,
    "neighbour_pair_s": 1e-6,
    "dvc_fixed_s": 5.0,
    "dvc_byte_s": 1e-9,
    "dvc_memory_mib": 150.0,
}


def made_up_rates(gpus: int = 0, workers: int = 2) -> Rates:
    """Ten seconds and a hundredth for each item, 500 MiB, 1 kB and 2 kB for each item and 100 bytes for each shard; two processors."""
    rate = Rate(10.0, 0.01, 500.0, 1000.0, 2000.0, 100.0)
    machine = {"device": "cuda" if gpus else "cpu", "processors": 2, "gpus": gpus}
    machine |= {"workers": workers, "device_workers": min(workers, 4 * gpus) if gpus else workers}
    of_corpus = {"voxceleb1": dict.fromkeys(OF_CORPUS, rate)}
    common = {stage: rate for stage in STAGES if stage not in OF_CORPUS}
    return Rates(machine, settings_of(load_params()), of_corpus, common, dict(NUMBERS), __version__)
