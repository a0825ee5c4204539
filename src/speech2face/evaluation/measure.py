"""Everything that is measured of a run, as one nested dictionary, and what tables and pictures are made from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from speech2face.evaluation.inputs import Aligned, Inputs
from speech2face.evaluation.second_opinion import Opinion, summarise_opinions
from speech2face.measures import craniofacial, scores, verification
from speech2face.measures.attributes import (
    Attribute,
    evaluated_attributes,
    fit_attributes,
    read_attribute,
    significance,
)
from speech2face.measures.baselines import predict_baselines
from speech2face.measures.controls import check_controls
from speech2face.measures.leaks import find_leaks
from speech2face.measures.ranking import (
    stand_among_alike,
    stand_among_speakers,
    stand_among_videos,
    summarise_matching,
    summarise_ranks,
    summarise_small_galleries,
)
from speech2face.measures.retrieval import METRICS, Standing
from speech2face.measures.similarity import similarities, summarise
from speech2face.measures.statistics import Bootstrap, rounded

UNIT = re.compile("_(years|cm|hz|db|deg|m)$")
HELD_EQUAL = (("sex",), ("sex", "nationality"))
DECODED_PER_BLOCK = 64


@dataclass(frozen=True)
class Measured:
    """A run's metrics, and what they were computed from.

    true: features [N, D] of the test rows' faces; systems: predictions of them by name, `voice` first, then the baselines;
    attributes: with their probes, controls among them; found: how the voices' matches stand among the test speakers; decoded:
    features [N, D] of decoded faces by source; trials, over_rows: pairs and resamples of the test rows.
    """

    metrics: dict[str, Any]
    true: np.ndarray
    systems: dict[str, np.ndarray]
    attributes: list[Attribute]
    found: Standing
    decoded: dict[str, np.ndarray]
    trials: verification.Trials
    over_rows: Bootstrap


def measure(inputs: Inputs, aligned: Aligned, settings: dict[str, Any], seed: int) -> Measured:
    """Measure the first of `inputs.predicted` and set it beside the baselines. settings: as `run.evaluate`."""
    voice = next(iter(inputs.predicted.values())).astype(np.float64)
    systems = {"voice": voice} | predict_baselines(inputs, aligned)

    def bootstrap(rows: np.ndarray | slice = slice(None)) -> Bootstrap:
        speakers = aligned.clips["speaker_id"].to_numpy(str)[rows]
        return Bootstrap(speakers, settings["resamples"], settings["confidence"], seed)

    over_rows = bootstrap()
    similarity = {
        name: summarise(similarities(features, aligned.true, aligned.training_mean), over_rows)
        for name, features in inputs.predicted.items()
    }
    found = stand_among_speakers(aligned, voice)
    retrieval = {"speaker_mean": summarise_ranks(found, over_rows)}
    for metric in METRICS[1:]:
        standing = stand_among_speakers(aligned, voice, metric)
        retrieval[f"speaker_mean_{metric}"] = summarise_ranks(standing, over_rows)
    for name, shift in (("same_video", 0), ("cross_video", 1)):
        standing, usable = stand_among_videos(aligned, voice, shift)
        if usable.any():
            retrieval[name] = summarise_ranks(standing, bootstrap(usable))
    matching = {"all": summarise_matching(found, over_rows)}
    pairs = verification.trials(aligned, voice, over_rows)
    verified = {"all": _verify(pairs, over_rows)}
    for names in HELD_EQUAL:
        if (alike := _alike(inputs.attributes, names, aligned)) is not None:
            standing, usable = stand_among_alike(aligned, voice, alike)
            if usable.any():
                label = f"same_{'_and_'.join(names)}"
                retrieval[label] = summarise_ranks(standing, bootstrap(usable))
                matching[label] = summarise_matching(standing, bootstrap(usable))
                codes = pd.factorize(alike.reindex(aligned.speakers))[0]
                within = verification.trials(aligned, voice, bootstrap(usable), codes, usable)
                verified[label] = _verify(within, bootstrap(usable))
    if small := summarise_small_galleries(found, over_rows):
        retrieval["galleries_of_100"] = small

    linked, controls = evaluated_attributes(inputs.attributes, inputs.roles)
    fitted, skipped = fit_attributes(aligned, inputs.attributes, linked + controls)
    if "galleries_of_100" not in retrieval:
        skipped["galleries_of_100"] = f"the gallery has {len(aligned.speakers)} test speakers"
    if "oracle" not in systems and any(role == "linked" for role in inputs.roles.values()):
        skipped["ceiling"] = "a linked attribute is unknown of a test clip, or of all but a few training speakers"
    decoded, shapes, opinions = _decode(inputs, {"true_feature": aligned.true, "voice": voice})
    sources = {"voice": voice, "true_feature": aligned.true} | {f"decoded_{name}": f for name, f in decoded.items()}
    attributes: dict[str, dict[str, Any]] = {}
    for attribute in fitted:
        of_known = bootstrap(attribute.known)
        attributes[attribute.name] = {
            name: read_attribute(attribute, features, of_known) for name, features in sources.items()
        }
    told = [attribute for attribute in fitted if attribute.name in linked]
    for attribute in told:
        p_value = significance(attribute, voice, settings["resamples"], seed)
        attributes[attribute.name]["voice"]["p_value"] = p_value
    tested = [attribute for attribute in fitted if attribute.name in controls]
    without_probe = {name: skipped[name] for name in controls if name in skipped}
    verdict = check_controls(
        tested, voice, aligned.true, without_probe, settings["confidence"], settings["resamples"], seed
    )
    for name, test in verdict["tests"].items():
        attributes[name]["voice"]["p_value"] = test["p_value"]

    metrics: dict[str, Any] = {
        "similarity": similarity,
        "retrieval": retrieval,
        "matching": matching,
        "verification": verified,
        "attributes": {attribute.name: attributes[attribute.name] for attribute in told},
        "controls": verdict | {attribute.name: attributes[attribute.name] for attribute in tested},
        "systems": scores.score_systems(aligned, systems, told, settings, seed),
        "groups": scores.score_groups(
            aligned, voice, scores.groups_of(inputs.attributes, aligned.clips["clip_id"]), told, settings, seed
        ),
        "leaks": find_leaks(inputs, aligned),
        "not_evaluated": skipped,
    }
    if "oracle" in systems:
        metrics["fraction_of_knowable"] = scores.fraction_of_knowable(
            aligned, voice, systems["oracle"], systems["mean_feature"], told, settings, seed
        )
    if shapes:
        metrics["craniofacial"] = craniofacial.correlate(
            shapes["true_feature"], shapes["voice"], aligned.clips["speaker_id"].tolist(), settings, seed
        )
    if opinions:
        of_rows = inputs.attributes.reindex(aligned.clips["clip_id"])
        metrics["insightface"] = summarise_opinions(opinions, of_rows, over_rows)
    metrics = rounded(_headline(metrics, aligned, inputs.num_without_face) | metrics)
    return Measured(metrics, aligned.true, systems, fitted, found, decoded, pairs, over_rows)


def _headline(metrics: Mapping[str, Any], aligned: Aligned, num_without_face: int) -> dict[str, Any]:
    """The numbers that one looks at first, without their intervals."""
    headline: dict[str, Any] = {}
    for name, sources in metrics["attributes"].items():
        for kind in ("accuracy", "correlation"):
            if kind in sources["voice"]:
                headline[f"{UNIT.sub('', name)}_{kind}"] = sources["voice"][kind]["value"]
    whole = metrics["retrieval"]["speaker_mean"]
    headline["recall_at_10_percent"] = whole["recall_at_10_percent"]["value"]
    headline["chance"] = whole["recall_at_10_percent"]["chance"]
    if "oracle" in metrics["systems"]:
        headline["ceiling"] = metrics["systems"]["oracle"]["recall_at_10_percent"]["value"]
    if "cross_video" in metrics["retrieval"]:
        cross = metrics["retrieval"]["cross_video"]["recall_at_10_percent"]
        headline["recall_at_10_percent_cross_video"] = cross["value"]
    headline["gallery_size"] = whole["gallery_size"]
    headline["median_rank"] = whole["median_rank"]["value"]
    own_length = next(iter(metrics["similarity"].values()))
    headline |= {name: own_length[name]["value"] for name in scores.COSINES}
    headline["controls_distinguishable"] = metrics["controls"]["distinguishable"]
    headline["controls_testable"] = metrics["controls"]["testable"]
    headline["leaks_found"] = metrics["leaks"]["shared_files"] + metrics["leaks"]["identical_faces"]
    headline["test_speakers"] = int(aligned.clips["speaker_id"].nunique())
    headline["test_clips"] = len(aligned.clips)
    if num_without_face:
        headline["test_clips_without_face"] = num_without_face
    return headline


def _verify(pairs: verification.Trials, bootstrap: Bootstrap) -> dict[str, Any]:
    measures = {
        "area_under_curve": verification.area_under_curve(pairs, bootstrap),
        "equal_error_rate": verification.equal_error_rate(pairs, bootstrap),
    }
    estimates = {name: bootstrap.estimate(statistic) for name, statistic in measures.items()}
    return {name: value | {"chance": 0.5} for name, value in estimates.items() if value}


def _alike(table: pd.DataFrame, names: tuple[str, ...], aligned: Aligned) -> pd.Series | None:
    """What of each test speaker is held equal, as one text indexed by speaker; None where the corpus does not know it."""
    if any(name not in table for name in names):
        return None
    own = table.loc[table.index.str.split("/").str[0].isin(aligned.speakers), list(names)].dropna()
    first = own.groupby(own.index.str.split("/").str[0]).first()
    return first.astype(str).agg(" ".join, axis=1) if len(first) else None


def _decode(
    inputs: Inputs, sources: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Opinion]]:
    """Features [N, D], landmarks [N, 68, 2] and opinions of the faces decoded from each source; pictures are not kept."""
    features: dict[str, np.ndarray] = {}
    shapes: dict[str, np.ndarray] = {}
    opinions: dict[str, Opinion] = {}
    if inputs.decode is None:
        return features, shapes, opinions
    for name, source in sources.items():
        embedded, landmarks, judged = [], [], []
        for start in range(0, len(source), DECODED_PER_BLOCK):
            images, points = inputs.decode(source[start : start + DECODED_PER_BLOCK].astype(np.float32))
            landmarks.append(points)
            if inputs.embed is not None:
                embedded.append(inputs.embed(images, points))
            if inputs.judge is not None:
                judged.append(inputs.judge(images, points))
        shapes[name] = np.concatenate(landmarks)
        if embedded:
            features[name] = np.concatenate(embedded).astype(np.float64)
        if judged:
            opinions[name] = Opinion(*(np.concatenate(column) for column in zip(*judged, strict=True)))
    return features, shapes, opinions
