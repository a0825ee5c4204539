"""What was found about leaks, negative controls and the simplest baseline, in sentences."""

from collections.abc import Mapping
from typing import Any

REGRESSION = "ridge_mean_spectrogram"
SUBJECT = "A linear regression from the mean spectrogram"
ABILITIES = {
    "finds faces": {"one_of_2": "choosing one of two faces", "recall_at_10_percent": "recall at 10 % of the gallery"},
    "predicts features": {"centred_cosine": "centred cosine"},
}
"""What the model and the regression are compared in, and by which measures."""
BETTER, AS_WELL, LESS_WELL = "better than this model", "about as well as this model", "less well than this model"


def verdict_of(difference: Mapping[str, float]) -> str:
    """What the difference of another system from the model, `value`, `low` and `high`, says of the other system: only an interval
    without 0 in it says that one of the two is better."""
    if difference["low"] > 0:
        return BETTER
    return LESS_WELL if difference["high"] < 0 else AS_WELL


def describe_regression(systems: Mapping[str, Any]) -> str:
    """Whether a linear regression does better than the model, about as well or less well; empty where it was not measured.

    systems: as `score_systems` has them, `voice` and the baselines.
    """
    sentences: list[str] = []
    for ability, measures in ABILITIES.items():
        found = _against_regression(systems, measures)
        for verdict in (BETTER, AS_WELL, LESS_WELL):
            if parts := [text for text, of_measure in found if of_measure == verdict]:
                subject = "It" if sentences else SUBJECT
                sentences.append(f"{subject} {ability} {verdict} by {' and by '.join(parts)}.")
    return " ".join(sentences)


def is_regression_better(systems: Mapping[str, Any]) -> bool:
    """Whether a linear regression does better than the model by any of the measures."""
    found = [pair for measures in ABILITIES.values() for pair in _against_regression(systems, measures)]
    return any(verdict == BETTER for _, verdict in found)


def _against_regression(systems: Mapping[str, Any], measures: Mapping[str, str]) -> list[tuple[str, str]]:
    """Of each measure that both have, its numbers in words and the verdict."""
    found = []
    for measure, name in measures.items():
        other, own = (systems.get(system, {}).get(measure, {}) for system in (REGRESSION, "voice"))
        difference = other.get("difference", {})
        if "value" in difference:
            numbers = f"{name} ({other['value']:.3f} against {own['value']:.3f}: {_in_words(difference)})"
            found.append((numbers, verdict_of(difference)))
    return found


def _in_words(difference: Mapping[str, float]) -> str:
    """By how much more or less, with the interval of that."""
    value, low, high = (difference[name] for name in ("value", "low", "high"))
    if value < 0:
        return f"{-value:.3f} less, {-high:z.3f} to {-low:z.3f}"
    return f"{f'{value:.3f} more' if value else 'no difference'}, {low:z.3f} to {high:z.3f}"


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
