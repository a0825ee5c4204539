"""The front matter of a model card: the YAML that model hubs read, as Hugging Face's modelcard.md lays it down."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from speech2face.measures.leaks import is_certain

NAME = "speech2face"
TAGS = ["audio", "speech", "voice", "face", "pytorch", "safetensors", "dvc"]
PUBLIC = {
    "voxceleb1": ["voxceleb1"],
    "voxceleb2": ["voxceleb2"],
    "voxceleb1+2": ["voxceleb1", "voxceleb2"],
    "hq_voxceleb": ["hq_voxceleb"],
    "avspeech": ["avspeech"],
}
"""The data sets of the corpora that others can get."""
FREE_NETWORKS = {"dlib_resnet"}
"""Face networks whose weights bind nobody."""
OTHER_LICENSE = {"license": "other", "license_name": "terms-of-the-data-and-of-the-face-network"}
DIGITS = 4
WIDTH = 140
"""Characters of a line of YAML, about."""


def front_matter(results: Mapping[str, Any], description: Mapping[str, str], synthetic: bool, confidence: float) -> str:
    """The front matter with its marks, from what `model_card` is made from.

    Where something leaks there are no results in it: a hub would show them without the card's warning. There is no `pipeline_tag`: of
    the hub's tasks none goes from voices to pictures.
    """
    corpus = " ".join(description.get("Corpus", "unknown").split())
    free = synthetic and description.get("Face features") in FREE_NETWORKS
    metadata: dict[str, Any] = {"license": "mit"} if free else dict(OTHER_LICENSE)
    metadata |= {"library_name": NAME, "tags": TAGS}
    if synthetic:
        metadata["language"] = ["en"]
    if corpus in PUBLIC:
        metadata["datasets"] = PUBLIC[corpus]
    if not is_certain(results["leaks"]) and not results["controls"]["distinguishable"]:
        task = {"type": "voice-to-face", "name": "Typical face of a voice"}
        dataset = {"type": corpus, "name": _name_of(corpus, synthetic), "split": "test"}
        found = {"task": task, "dataset": dataset, "metrics": _metrics(results, confidence)}
        metadata["model-index"] = [{"name": NAME, "results": [found]}]
    text = io.StringIO()
    yaml = YAML()
    yaml.width = WIDTH
    yaml.dump(metadata, text)
    return f"---\n{text.getvalue()}---\n"


def _name_of(corpus: str, synthetic: bool) -> str:
    return "synthetic speakers: rendered faces, synthesised voices" if synthetic else corpus.replace("_", " ")


def _metrics(results: Mapping[str, Any], confidence: float) -> list[dict[str, Any]]:
    """The measures by which faces are found and features are predicted, with interval and chance."""
    gallery = results["retrieval"]["speaker_mean"]
    size = gallery["gallery_size"]
    found: dict[str, tuple[str, Mapping[str, float]]] = {
        "recall_at_10_percent": (f"recall at 10 % of {size} faces", gallery["recall_at_10_percent"]),
        "one_of_two": ("choosing one of two faces", results["matching"]["all"].get("one_of_2", {})),
        "centred_cosine": (
            "centred cosine of predicted and true features",
            {"chance": 0.0, **results["systems"]["voice"]["centred_cosine"]},
        ),
    }
    metrics = []
    for kind, (name, estimate) in found.items():
        if "value" in estimate:
            numbers = {
                key: round(estimate[key], DIGITS) + 0.0 for key in ("value", "low", "high", "chance")
            }  # never -0
            value, low, high, chance = numbers.values()
            said = f"{name} ({100 * confidence:g} % interval {low:g} to {high:g}, chance {chance:g})"
            arguments = {"confidence": confidence, "low": low, "high": high, "chance": chance}
            metrics.append({"type": kind, "value": value, "name": said, "args": arguments})
    return metrics
