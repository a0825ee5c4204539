"""Everything that is measured of a run, as one nested dictionary, and what tables and pictures are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speech2face.measures.aligned import Aligned
from speech2face.measures.amounts import score_amounts
from speech2face.measures.attributes import (
    Attribute,
    evaluated_attributes,
    fit_attributes,
    read_attribute,
    significance,
)
from speech2face.measures.baselines import predict_baselines
from speech2face.measures.controls import check_controls
from speech2face.measures.craniofacial import correlate
from speech2face.measures.decoded import Decoded, decode_faces, score_decoded
from speech2face.measures.galleries import measure_galleries
from speech2face.measures.headline import headline
from speech2face.measures.heard import score_heard
from speech2face.measures.inputs import Inputs
from speech2face.measures.leaks import find_leaks
from speech2face.measures.opinions import summarise_opinions
from speech2face.measures.retrieval import Ranks
from speech2face.measures.scores import fraction_of_knowable, groups_of, score_groups, score_systems
from speech2face.measures.similarity import summarise
from speech2face.measures.statistics import resample_speakers, rounded
from speech2face.measures.systems import System
from speech2face.measures.verification import Verified
from speech2face.measures.views import Features, View
from speech2face.pipeline.params import Evaluation


@dataclass(frozen=True)
class Measured:
    """A run's results, and what they were computed from.

    results: nested, floats of 6 significant digits, `headline` first; true: features [N, D] of the test rows' faces; systems: predictions
    of them by name, `voice` first, then the baselines; attributes: with their probes, controls among them; ranks: those of the voices'
    matches among the test speakers; decoded: features [N, D] of decoded faces by source; verified: among all test speakers.
    """

    results: dict[str, Any]
    true: Features
    systems: dict[str, System]
    attributes: list[Attribute]
    ranks: Ranks
    decoded: dict[str, np.ndarray]
    verified: Verified


def measure(inputs: Inputs, aligned: Aligned, settings: Evaluation, seed: int) -> Measured:
    """Measure the first of `inputs.predicted` and compare it with the baselines."""
    amounts = {name: System(aligned, features) for name, features in inputs.predicted.items()}
    baselines = {name: System(aligned, features) for name, features in predict_baselines(inputs, aligned).items()}
    systems = {"voice": next(iter(amounts.values())), **baselines}
    voice = systems["voice"].features
    over_rows = resample_speakers(aligned.clips, settings, seed)
    galleries = measure_galleries(aligned, systems["voice"], inputs.attributes, settings, seed)
    faces = {name: decode_faces(inputs, f) for name, f in (("true_feature", aligned.true), ("voice", voice))}
    decoded = {name: face for name, face in faces.items() if face is not None}
    embedded = {name: face.features for name, face in decoded.items() if face.features is not None}
    linked, controls = evaluated_attributes(inputs.attributes, inputs.roles)
    fitted, skipped = fit_attributes(aligned, inputs.attributes, linked + controls)
    known = [attribute for attribute in fitted if attribute.name in linked]
    sources: dict[str, Features] = {"voice": voice, "true_feature": aligned.true}
    sources |= {f"decoded_{name}": f for name, f in embedded.items()}
    read = _read(aligned, fitted, sources, settings, seed)
    without_probe = {name: skipped[name] for name in controls if name in skipped}
    results: dict[str, Any] = {
        "counts": _counts(inputs, aligned),
        "similarity": {name: summarise(amount.near, over_rows) for name, amount in amounts.items()},
        **galleries.results,
        "amount_of_speech": score_amounts(aligned, amounts, over_rows),
        "attributes": _attributes(known, voice, read, settings, seed),
        "controls": _controls(
            [attribute for attribute in fitted if attribute.name in controls],
            sources,
            without_probe,
            read,
            settings,
            seed,
        ),
        "systems": score_systems(aligned, systems, known, settings, seed),
        "groups": score_groups(
            aligned, systems["voice"], groups_of(inputs.attributes, aligned.clips["clip_id"]), known, settings, seed
        ),
        "leaks": find_leaks(inputs, aligned),
        "not_evaluated": skipped | _not_evaluated(inputs, aligned, systems, galleries.results["retrieval"]),
    }
    if heard := score_heard(inputs, aligned, systems["voice"], settings, seed):
        results["may_have_been_heard"] = heard
    if "oracle" in systems:
        results["fraction_of_knowable"] = fraction_of_knowable(aligned, systems, known, settings, seed)
    results |= _of_decoded(inputs, aligned, voice, decoded, settings, seed)
    results = rounded({"headline": headline(results), **results})
    return Measured(results, aligned.true, systems, fitted, galleries.ranks, embedded, galleries.verified)


def _counts(inputs: Inputs, aligned: Aligned) -> dict[str, int]:
    return {
        "test_speakers": int(aligned.clips["speaker_id"].nunique()),
        "test_clips": len(aligned.clips),
        "test_clips_without_face": inputs.num_without_face,
    }


def _read(
    aligned: Aligned,
    attributes: Sequence[Attribute],
    sources: Mapping[str, Features],
    settings: Evaluation,
    seed: int,
) -> dict[str, dict[str, dict[str, Any]]]:
    """How well each attribute is read from features [N, D] of each source, by attribute and source."""
    read = {}
    for attribute in attributes:
        over_known = resample_speakers(aligned.clips, settings, seed, attribute.known)
        read[attribute.name] = {name: read_attribute(attribute, f, over_known) for name, f in sources.items()}
    return read


def _attributes(
    attributes: Sequence[Attribute],
    voice: Features,
    read: Mapping[str, dict[str, dict[str, Any]]],
    settings: Evaluation,
    seed: int,
) -> dict[str, Any]:
    """What was read of the linked attributes, with the p-value of reading them from the voice."""
    found = {}
    for attribute in attributes:
        sources = read[attribute.name]
        p_value = significance(attribute, voice, settings.resamples, seed)
        found[attribute.name] = sources | {"voice": sources["voice"] | {"p_value": p_value}}
    return found


def _controls(
    controls: Sequence[Attribute],
    sources: Mapping[str, Features],
    without_probe: Mapping[str, str],
    read: Mapping[str, dict[str, dict[str, Any]]],
    settings: Evaluation,
    seed: int,
) -> dict[str, Any]:
    """The verdict on the controls, and what was read of each, with its p-value where it was tested."""
    verdict = check_controls(controls, sources["voice"], sources["true_feature"], without_probe, settings, seed)
    found = dict(verdict)
    for control in controls:
        of_control = read[control.name]
        if test := verdict["tests"].get(control.name):
            of_control = of_control | {"voice": of_control["voice"] | {"p_value": test["p_value"]}}
        found[control.name] = of_control
    return found


def _not_evaluated(
    inputs: Inputs, aligned: Aligned, systems: Mapping[str, System], retrieval: Mapping[str, Any]
) -> dict[str, str]:
    """Why what is not about one attribute was left out."""
    reasons = {}
    if "galleries_of_100" not in retrieval:
        reasons["galleries_of_100"] = f"the gallery has {len(aligned.speakers)} test speakers"
    if "oracle" not in systems and any(role == "linked" for role in inputs.roles.values()):
        reasons["ceiling"] = "a linked attribute is unknown of a test clip, or of all but a few training speakers"
    return reasons


def _of_decoded(
    inputs: Inputs,
    aligned: Aligned,
    voice_features: Features,
    decoded: Mapping[str, Decoded],
    settings: Evaluation,
    seed: int,
) -> dict[str, Any]:
    """Proportions of the decoded faces, and what face networks see in them, as far as there are a decoder and such networks."""
    results: dict[str, Any] = {}
    if not decoded:
        return results
    over_rows = resample_speakers(aligned.clips, settings, seed)
    embedded = {name: face.features for name, face in decoded.items() if face.features is not None}
    if embedded:
        stretched = View(voice_features.shape, lambda rows: aligned.stretched(voice_features[rows], inputs.stretch))
        farther = decode_faces(inputs, stretched)
        if farther is not None and farther.features is not None:
            embedded["voice_stretched"] = farther.features
        results["decoded"] = score_decoded(inputs, aligned, embedded, over_rows)
    true, voice = (decoded[name].landmarks for name in ("true_feature", "voice"))
    results["craniofacial"] = correlate(true, voice, aligned.clips["speaker_id"].tolist(), settings, seed)
    opinions = {name: face.opinion for name, face in decoded.items() if face.opinion is not None}
    if opinions:
        of_rows = inputs.attributes.reindex(aligned.clips["clip_id"])
        results["insightface"] = summarise_opinions(opinions, of_rows, over_rows)
    return results
