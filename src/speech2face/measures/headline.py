"""The few numbers by which experiments are compared: what `dvc metrics` shows of an evaluation."""

from collections.abc import Mapping
from typing import Any

ATTRIBUTES = {
    "sex_accuracy": ("sex", "accuracy"),
    "age_correlation": ("age_years", "correlation"),
}
"""Of the attributes only these two, whatever else a corpus has: its other numbers are in the results."""


def headline(results: Mapping[str, Any]) -> dict[str, float]:
    """The headline of an evaluation's results, flat and without intervals, what matters most first.

    recall_at_10_percent, its `chance` and its `ceiling` (the oracle's), one_of_two: in the gallery of the test speakers' mean faces, by
    centred cosine; mean_spectrogram_one_of_two: of the linear regression from the mean spectrogram; recall_at_10_percent_raw: by raw
    cosine; hub_share: see `measure_hubs`; recall_other_video: recall at 10 % where the face is of another video than the voice. What the
    corpus does not give is left out.
    """
    gallery = results["retrieval"]["speaker_mean"]["recall_at_10_percent"]
    own_length = next(iter(results["similarity"].values()))
    estimates: dict[str, Mapping[str, float]] = {
        "recall_at_10_percent": gallery,
        "one_of_two": results["matching"]["all"].get("one_of_2", {}),
        "mean_spectrogram_one_of_two": results["systems"].get("ridge_mean_spectrogram", {}).get("one_of_2", {}),
        "centred_cosine": own_length["centred_cosine"],
        **{name: _read_from_voice(results, *place) for name, place in ATTRIBUTES.items()},
        "recall_other_video": results["retrieval"].get("cross_video", {}).get("recall_at_10_percent", {}),
        "ceiling": results["systems"].get("oracle", {}).get("recall_at_10_percent", {}),
        "recall_at_10_percent_raw": results["retrieval"]["speaker_mean_raw_cosine"]["recall_at_10_percent"],
        "hub_share": results["hubs"]["speaker_mean"]["hub_share"],
    }
    numbers = {name: estimate["value"] for name, estimate in estimates.items() if "value" in estimate}
    first = {"recall_at_10_percent": numbers.pop("recall_at_10_percent"), "chance": gallery["chance"]}
    leaks = results["leaks"]
    return {
        **first,
        **numbers,
        "controls_distinguishable": results["controls"]["distinguishable"],
        "leaks_found": leaks["shared_files"] + leaks["identical_faces"],
        "test_speakers": results["counts"]["test_speakers"],
    }


def _read_from_voice(results: Mapping[str, Any], attribute: str, measure: str) -> Mapping[str, float]:
    sources = results["attributes"].get(attribute, {"voice": {}})
    found: Mapping[str, float] = sources["voice"].get(measure, {})
    return found
