"""What was found about leaks and negative controls, in sentences."""

from collections.abc import Mapping
from typing import Any


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
