"""Sections of the report that show measures: tables and charts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from speech2face.evaluation import charts
from speech2face.evaluation.attributes import Attribute, confusion
from speech2face.evaluation.compare import Comparisons
from speech2face.evaluation.measures import Measured
from speech2face.evaluation.report import Cell, Picture, Section, Table, number, svg_picture, words

MOST_CLASSES = 12  # of a confusion matrix that can still be read
MEASURE_NAMES = {
    "centred_cosine": "cosine, centred on the mean training face",
    "recall_at_10_percent": "recall at 10 % of the gallery",
    "reciprocal_rank": "mean reciprocal rank",
    "one_of_2": "choosing one of two faces",
    "decoded_cosine": "cosine, face decoded from the voice and true feature",
    "decoded_true_cosine": "cosine, face decoded from the true feature and that feature",
}
GALLERIES = {
    "speaker_mean": "mean face, cosine",
    "speaker_mean_l1": "mean face, L1",
    "speaker_mean_l2": "mean face, L2",
    "same_video": "same video",
    "cross_video": "other video",
    "galleries_of_100": "galleries of 100",
}


def retrieval_section(metrics: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> Section:
    """Recall by gallery, matching, verification, and their curves."""
    measures = [
        *(f"recall_at_{k}" for k in (1, 2, 5, 10)),
        *(f"recall_at_{k}_percent" for k in (1, 2, 5, 10)),
        "median_rank",
        "mean_reciprocal_rank",
    ]
    galleries = metrics["retrieval"]
    rows = [[Cell("gallery size"), *(number(g["gallery_size"], 1) for g in galleries.values())]]
    rows += [[Cell(words(name)), *(_with_chance(g.get(name)) for g in galleries.values())] for name in measures]
    note = (
        "By cosine among one mean face a test speaker, unless said otherwise. Same video: the face of the very video that the voice "
        "is from; other video: of another of the speaker's. A percentage of the gallery is rounded up to whole faces, and "
        "chance with it. Equal distances count as in random order."
    )
    retrieval = Table(
        "Finding the face of a voice",
        ["measure", *(GALLERIES.get(name, words(name)) for name in galleries)],
        rows,
        note,
    )
    names = list(dict.fromkeys(name for entry in metrics["matching"].values() for name in entry))
    chosen = [
        [Cell(words(name)), *(_with_chance(entry.get(name)) for entry in metrics["matching"].values())]
        for name in names
    ]
    chosen += [
        [Cell(f"verification: {words(name)}"), *(_with_chance(e.get(name)) for e in metrics["verification"].values())]
        for name in ("area_under_curve", "equal_error_rate")
    ]
    matching = Table(
        "Matching and verification", ["measure", *(f"others: {words(name)}" for name in metrics["matching"])], chosen
    )
    recall, roc = tables["recall"], tables["roc"]
    grid = roc["false_positive_rate"].to_numpy()
    lines = {
        words(str(name)): (recall["rank"].to_numpy(), recall[name].to_numpy())
        for name in recall.columns
        if name != "rank"
    }
    at_ten = galleries["speaker_mean"]["recall_at_10_percent"]["value"]
    area = metrics["verification"]["all"].get("area_under_curve", {}).get("value", float("nan"))
    pictures = [
        svg_picture(
            charts.curves(lines, "rank", "recall", log_x=True),
            f"Recall by rank for the voice, the baselines and chance; the voice reaches {at_ten:.2f} at 10 % of the gallery.",
            "Recall by rank: part of the voices whose face is among so many nearest.",
        ),
        svg_picture(
            charts.curves(
                {
                    "voice": (grid, roc["true_positive_rate"].to_numpy()),
                    "chance": (grid, grid),
                },
                "false positive rate",
                "true positive rate",
            ),
            f"ROC curve of verification; the area under it is {area:.3f}.",
            "Verification over all pairs of a test voice and a test face.",
        ),
    ]
    return Section("retrieval", "Retrieval, matching, verification", tables=[retrieval, matching], charts=pictures)


def attributes_section(measured: Measured) -> Section:
    """What is read of the linked attributes, with confusion matrices and scatter charts."""
    attributes = measured.metrics["attributes"]
    if not attributes:
        return Section("attributes", "Attributes", ["The corpus tells no attribute that could be read."])
    charts_shown = [
        chart
        for attribute in measured.attributes
        if attribute.name in attributes
        and (chart := _attribute_chart(attribute, measured.systems["voice"])) is not None
    ]
    note = (
        "Each attribute is read by a probe that was fitted on true face features of training speakers only; the same probe reads "
        "every source. Balanced accuracy is the mean over classes; always guessing the commonest class would give “majority”."
    )
    return Section("attributes", "Attributes", tables=[_attribute_table(attributes, note)], charts=charts_shown)


def _attribute_table(attributes: Mapping[str, Any], note: str) -> Table:
    sources = list(next(iter(attributes.values())))
    rows = []
    for name, results in attributes.items():
        for measure in ("accuracy", "balanced_accuracy", "correlation", "mean_absolute_error"):
            if any(measure in results[source] for source in sources):
                voice = results["voice"]
                guess = {
                    "accuracy": voice.get("majority"),
                    "balanced_accuracy": 1 / voice["num_classes"] if "num_classes" in voice else None,
                    "correlation": 0.0,
                    "mean_absolute_error": voice.get("error_of_guessing_the_mean"),
                }[measure]
                cells = [number(results[source].get(measure)) for source in sources]
                rows.append([Cell(f"{words(name)}: {words(measure)}"), *cells, number(guess)])
    return Table("Read from", ["attribute", *map(words, sources), "majority or mean"], rows, note)


def _attribute_chart(attribute: Attribute, voice: np.ndarray) -> Picture | None:
    name = words(attribute.name)
    if attribute.is_number:
        read = attribute.probe.predict(voice[attribute.known])
        alt = f"{name} read from the voice over its true value, one point a clip, {len(read)} clips."
        return svg_picture(
            charts.scatter(attribute.truth, read, name), alt, f"{name}: read from voices over the truth."
        )
    if len(attribute.classes) > MOST_CLASSES:
        return None
    counts = confusion(attribute, voice)
    cells = [
        f"true {true} read as {read}: {counts.loc[true, read]}" for true in counts.index for read in counts.columns
    ]
    return svg_picture(
        charts.confusion_matrix(counts, name),
        f"Confusion matrix of {name}. {'; '.join(cells)}.",
        f"{name}: number of clips, true class by class read from the voice.",
    )


def controls_section(metrics: Mapping[str, Any]) -> Section:
    """Whether a negative control is told."""
    controls = metrics["controls"]
    if not controls["tests"]:
        return Section("controls", "Negative controls", ["The corpus names no attribute that the voice cannot tell."])
    rows = []
    for name, test in controls["tests"].items():
        measure = next(
            m for m in ("balanced_accuracy", "correlation", "mean_absolute_error") if m in controls[name]["voice"]
        )
        guess = 1 / controls[name]["voice"]["num_classes"] if measure == "balanced_accuracy" else 0.0
        rows.append(
            [
                Cell(f"{words(name)}: {words(measure)}"),
                number(controls[name]["voice"][measure]),
                number(controls[name]["true_feature"].get(measure)),
                number(guess, 2),
                number(test["p_value"], 4),
                number(test["corrected_p_value"], 4),
            ]
        )
    text = (
        "Attributes that shape the voice or the face, never both. A model that tells one from the voice better than chance has found "
        f"a leak: {controls['distinguishable']} of {len(rows)} are told ({controls['distinguishable_names']})."
    )
    note = "One-sided permutation tests, values shuffled among whole speakers or videos; corrected for their number (Holm)."
    columns = ["control", "from the voice", "from the true feature", "chance", "p", "corrected p"]
    return Section("controls", "Negative controls", [text], [Table("Can the voice tell?", columns, rows, note)])


def similarity_section(metrics: Mapping[str, Any]) -> Section:
    """Similarity by the length heard."""
    lengths = metrics["similarity"]
    rows = [
        [
            Cell(words(name)),
            *(
                _with(
                    lengths[length][name],
                    f"sd over clips {lengths[length][name]['sd_clips']:.3g}",
                    f"over speakers {lengths[length][name]['sd_speakers']:.3g}",
                )
                for length in lengths
            ),
        ]
        for name in next(iter(lengths.values()))
    ]
    table = Table(
        "Predicted and true feature of the same video", ["measure", *(f"{length} heard" for length in lengths)], rows
    )
    return Section("similarity", "Similarity", tables=[table])


def systems_section(metrics: Mapping[str, Any]) -> Section:
    """The same measures of the model, the baselines and the oracle."""
    systems = metrics["systems"]
    names = list(dict.fromkeys(name for entry in systems.values() for name in entry))
    rows = [
        [Cell(MEASURE_NAMES.get(name, words(name))), *(number(entry.get(name)) for entry in systems.values())]
        for name in names
    ]
    note = (
        "Mean feature: everyone gets the mean training face. Ridge: linear regression from the mean spectrogram or from the "
        "fundamental frequency. Oracle: regression from the true linked attributes."
    )
    table = Table("The same measures of each", ["measure", *map(words, systems)], rows, note)
    return Section("baselines", "Baselines and ceiling", tables=[table])


def comparisons_section(compared: Comparisons, confidence: float) -> Section:
    """This run against other experiments on the same clips, and which were set aside."""
    columns = ["measure", "this run", "the other", "the other − this run", "p"]
    tables = []
    for name, table in compared.tables.items():
        rows = []
        for entry in table.to_dict("records"):
            difference = {"value": entry["difference"], "low": entry["low"], "high": entry["high"]}
            measure = MEASURE_NAMES.get(entry["measure"], words(entry["measure"]))
            values = [number(entry["first"]), number(entry["second"]), number(difference, 4)]
            rows.append([Cell(measure), *values, number(entry["p_value"], 4)])
        tables.append(Table(f"The other: {words(name)}", columns, rows))
    texts = [
        f"Other experiments on the same test clips, clip by clip. Beneath each difference its {100 * confidence:g} % interval by "
        "bootstrap over speakers; p, two-sided, is of swapping the two runs at random speaker by speaker, not corrected for the "
        "number of measures. Above 0 the other is better, except for an error, where it is worse. Cosines compare only within "
        "one face network."
    ]
    texts += [
        f"Set aside: {words(name)} was evaluated on other test clips than this run; run that experiment again on this corpus."
        for name in compared.skipped
    ]
    return Section("comparisons", "Settings against each other", texts, tables)


def craniofacial_section(metrics: Mapping[str, Any], confidence: float) -> Section:
    """Correlations of the twelve measures."""
    results = metrics["craniofacial"]
    texts = [
        "Proportions of faces decoded from voices against those decoded from the true features of the same speakers."
    ]
    if not results:
        texts.append(
            "No correlation is defined: there are fewer than two test speakers, or faces do not differ from speaker to speaker."
        )
        return Section("craniofacial", "Craniofacial measures", texts)
    threshold = f"{100 * confidence:g} % of permutations below"
    columns = ["measure", "correlation", threshold, "p", "corrected p", "published"]
    rows = [
        [
            Cell(words(name)),
            number(result),
            number(result["chance_high"]),
            number(result["p_value"], 4),
            number(result["corrected_p_value"], 4),
            number(result["published"]),
        ]
        for name, result in results.items()
    ]
    note = (
        "Pearson's correlation over test speakers, each with the means over the clips. The threshold and p, one-sided, are of shuffling "
        "whole speakers. Published: Oh et al. 2019, supplement; other people, another face network and other definitions of the "
        "points, so for orientation only."
    )
    points = [(words(n), r["value"], r["low"], r["high"]) for n, r in results.items()]
    chart = charts.intervals(points, [r["chance_high"] for r in results.values()], "correlation", threshold)
    largest = max(results, key=lambda name: results[name]["value"])
    alt = f"Correlation of {len(rows)} craniofacial measures; the largest is {words(largest)}, {results[largest]['value']:.2f}."
    return Section(
        "craniofacial",
        "Craniofacial measures",
        texts,
        [Table("Correlations", columns, rows, note)],
        [svg_picture(chart, alt, "Correlations with their intervals.")],
    )


def groups_section(metrics: Mapping[str, Any]) -> Section:
    """Measures by group of speakers."""
    groups = metrics["groups"]
    if not groups:
        return Section("groups", "Even or uneven", ["The corpus tells no attribute by which to compare speakers."])
    tables, points = [], []
    for name, entries in groups.items():
        keys = list(dict.fromkeys(key for entry in entries.values() for key in entry))
        rows = [[Cell(group), *(number(entry.get(key)) for key in keys)] for group, entry in entries.items()]
        tables.append(Table(words(name), ["group", *(MEASURE_NAMES.get(key, words(key)) for key in keys)], rows))
        for group, entry in entries.items():
            value = entry["recall_at_10_percent"]
            points.append((f"{words(name)}: {group}", value["value"], value["low"], value["high"]))
    whole = metrics["retrieval"]["speaker_mean"]["recall_at_10_percent"]["value"]
    chart = charts.intervals(points, [whole] * len(points), "recall at 10 % of the gallery", "all speakers")
    alt = "Recall at 10 % of the gallery by group: " + "; ".join(f"{p[0]} {p[1]:.2f}" for p in points) + "."
    return Section(
        "groups", "Even or uneven", tables=tables, charts=[svg_picture(chart, alt, "Recall by group, with intervals.")]
    )


def _with_chance(estimate: Mapping[str, float] | None) -> Cell:
    if not estimate or "value" not in estimate:
        return Cell("–")
    return _with(estimate, f"chance {estimate['chance']:.3g}")


def _with(estimate: Mapping[str, float], *lines: str) -> Cell:
    cell = number(dict(estimate))
    return Cell(cell.text, (*cell.details, *lines))
