"""Negative controls: attributes that shape the voice or the face, never both. One that is read from a voice is a leak.

A control is read by a probe of face features, so a test of it has power only if faces show it. One that the probe cannot read from
the true faces of the test speakers either (an accent, a room) cannot be tested this way: it may still be audible, and nothing is
claimed of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from speech2face.measures.attributes import Attribute, significance
from speech2face.measures.statistics import holm
from speech2face.measures.views import Features
from speech2face.pipeline.params import Evaluation

DRAWS_PER_TEST = 20  # permutations of a test are at least this many over its corrected level
CONSTANT = "all test speakers have one value of it"
NOT_SHOWN = "faces do not show it"


def check_controls(
    controls: Sequence[Attribute],
    voice: Features,
    faces: Features,
    skipped: Mapping[str, str],
    settings: Evaluation,
    seed: int,
) -> dict[str, Any]:
    """Which controls can be tested, and how many of these are distinguishable from chance: that should be none.

    voice, faces: predicted and true features [N, D] of all test rows; skipped: why a control has no probe. Testable are those
    that the probes read from `faces` above chance, at the level of the test itself and not corrected, so one in 20 of what faces do
    not show is among them at 95 %. Their p-values from `voice` are corrected for their number (Holm). `untestable`: reason by name.
    """
    level = 1 - settings.confidence
    permutations = max(settings.resamples, round(DRAWS_PER_TEST * len(controls) / level))
    untestable, testable, of_faces = dict(skipped), [], {}
    for control in controls:
        if len(np.unique(control.truth)) < 2:
            untestable[control.name] = CONSTANT
            continue
        of_faces[control.name] = significance(control, faces, permutations, seed)
        if of_faces[control.name] <= level:
            testable.append(control)
        else:
            untestable[control.name] = NOT_SHOWN
    raw = [significance(control, voice, permutations, seed) for control in testable]
    tests = {
        control.name: {"p_value": p, "corrected_p_value": q, "p_value_of_faces": of_faces[control.name]}
        for control, p, q in zip(testable, raw, holm(raw), strict=True)
    }
    found = [name for name, test in tests.items() if test["corrected_p_value"] <= level]
    return {
        "distinguishable": len(found),
        "distinguishable_names": ", ".join(found) or "none",
        "testable": len(testable),
        "untestable": untestable,
        "tests": tests,
    }
