"""What was found about leaks, negative controls and the simplest baseline, in sentences."""

from collections.abc import Mapping
from typing import Any

REGRESSION = "ridge_mean_spectrogram"
FOUND_BY = {"one_of_2": "choosing one of two faces", "recall_at_10_percent": "recall at 10 % of the gallery"}


def describe_regression(systems: Mapping[str, Any]) -> str:
    """By how much a linear regression finds faces better than the model; empty where it does not, or was not measured.

    systems: as `score_systems` has them, `voice` and the baselines.
    """
    parts = []
    for measure, name in FOUND_BY.items():
        other, own = (systems.get(system, {}).get(measure) for system in (REGRESSION, "voice"))
        if other and own and other["value"] > own["value"]:
            more = other["difference"]
            parts.append(
                f"{name} {other['value']:.3f}, this model {own['value']:.3f} ({more['value']:.3f} more, {more['low']:.3f} to "
                f"{more['high']:.3f})"
            )
    if not parts:
        return ""
    return f"A linear regression from the mean spectrogram finds faces better than this model: {'; '.join(parts)}."


def describe_heard(heard: Mapping[str, Any]) -> str:
    """What the results of people who may have been heard are; heard: as `score_heard` has it."""
    return (
        f"The frozen speaker encoder was trained on recordings of {heard['corpora']}. So it may have heard some of these people before, "
        "with their names. People whose origin is not known count among them. Ranks are within the whole gallery; fewer than three "
        "people are not shown by themselves."
    )


def describe_leaks(leaks: Mapping[str, Any]) -> str:
    """What `find_leaks` found, and what it could not look for."""
    alike = leaks["look_alikes"]
    found = (
        f"Between test speakers and the others: {leaks['shared_files']} clips with a shared file, {leaks['identical_faces']} videos with "
        "an identical face"
    )
    if alike is None:
        return (
            f"{found}. Whether speakers look alike enough to be one person under two names could not be checked: that takes two videos of "
            "training speakers."
        )
    return f"{found}, and {alike} speakers who look alike enough to be one person under two names."


def describe_controls(controls: Mapping[str, Any]) -> str:
    """The verdict of `check_controls`, with what it does not cover; empty where there is no control."""
    sentences = []
    if controls["testable"]:
        found = controls["distinguishable"]
        names = f" ({controls['distinguishable_names']})" if found else ""
        verb = "is" if found == 1 else "are"
        sentences.append(
            f"{found} of {controls['testable']} testable controls {verb} distinguishable from chance{names}."
        )
    if controls["untestable"]:
        by_reason: dict[str, list[str]] = {}
        for name, reason in controls["untestable"].items():
            by_reason.setdefault(reason, []).append(name)
        listed = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())
        sentences.append(
            f"{len(controls['untestable'])} cannot be tested this way: {listed}. Such a control may still be audible; it has not passed."
        )
    return " ".join(sentences)
