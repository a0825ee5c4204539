"""Sections of the report that show measures: tables and charts."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from speech2face.evaluation.compare import Comparisons
from speech2face.report import charts
from speech2face.report.report import Cell, Section, Table, number, svg_picture, words

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
        "By cosine among one mean face a test speaker, unless said otherwise; the video that the voice is from is part of that mean. "
        "Same video: the face of the very video that the voice is from; other video: of another of the speaker's, which shares nothing "
        "but the speaker. A percentage of the gallery is rounded up to whole faces, and chance with it. Equal distances count as in "
        "random order. Where few succeed (recall at 1 or 2) the intervals are too narrow: resampling cannot show what did not happen."
    )
    retrieval = Table(
        "Finding the face of a voice",
        ["measure", *(GALLERIES.get(name, words(name)) for name in galleries)],
        rows,
        note,
    )
    matched = metrics["matching"].values()
    names = [name for entry in matched for name, value in entry.items() if isinstance(value, dict)]
    chosen = [[Cell("gallery size"), *(number(entry["gallery_size"], 1) for entry in matched)]]
    chosen += [
        [Cell(words(name)), *(_with_chance(entry.get(name)) for entry in matched)] for name in dict.fromkeys(names)
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
        words(str(name)): (curve["rank"].to_numpy(), curve["recall"].to_numpy())
        for name, curve in recall.groupby("system", sort=False)
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
                    f"speakers' mean {lengths[length][name]['over_speakers']['value']:.3g}",
                    f"their sd {lengths[length][name]['over_speakers']['sd']:.3g}",
                )
                for length in lengths
            ),
        ]
        for name in next(iter(lengths.values()))
    ]
    table = Table(
        "Predicted and true feature of the same video", ["measure", *(f"{length} heard" for length in lengths)], rows
    )
    opinions = [_opinions_table(metrics["insightface"])] if "insightface" in metrics else []
    return Section("similarity", "Similarity", tables=[table, *opinions])


def _opinions_table(opinions: Mapping[str, Any]) -> Table:
    """What insightface's models see in the decoded faces."""
    sources = {name: entry for name, entry in opinions.items() if name.startswith("decoded_")}
    rows = []
    for name, chance_name in (("sex_accuracy", "sex_majority"), ("age_correlation", "")):
        if any(name in entry for entry in sources.values()):
            chance = next(iter(sources.values())).get(chance_name, 0.0)
            rows.append([Cell(words(name)), *(number(entry.get(name)) for entry in sources.values()), number(chance)])
    alike = [Cell("–") if name != "decoded_voice" else number(opinions["identity_cosine"]) for name in sources]
    rows.append([Cell("identity: cosine of the two"), *alike, number(opinions.get("identity_cosine_chance"))])
    note = (
        "Networks that had no part in training, made for photographs and with biases of their own. Chance: the commoner sex; no "
        "correlation; faces of different speakers."
    )
    columns = ["measure", *map(words, sources), "chance"]
    return Table("Decoded faces in the eyes of insightface's models", columns, rows, note)


def systems_section(metrics: Mapping[str, Any]) -> Section:
    """The same measures of the model, the baselines and the oracle."""
    systems = metrics["systems"]
    names = list(dict.fromkeys(name for entry in systems.values() for name in entry))
    rows = [
        [Cell(MEASURE_NAMES.get(name, words(name))), *(_with_difference(entry.get(name)) for entry in systems.values())]
        for name in names
    ]
    note = (
        "Mean feature: everyone gets the mean training face. Ridge: linear regression from the mean spectrogram or from the "
        "fundamental frequency. Oracle: regression from the true linked attributes; it learns from the same few speakers, so it is "
        "no strict bound. Δ: minus this run, paired over speakers; above 0 the baseline is better."
    )
    table = Table("The same measures of each", ["measure", *map(words, systems)], rows, note)
    return Section("baselines", "Baselines and ceiling", tables=[table])


def _with_difference(value: Mapping[str, Any] | None) -> Cell:
    """An estimate, and beneath it by how much it differs from the voice's."""
    if value is None or "value" not in (difference := value.get("difference", {})):
        return number(value)
    low, high = difference["low"], difference["high"]
    return _with(value, f"Δ {difference['value']:+.3f}", f"{low:+.3f} to {high:+.3f}")


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
        return Section(
            "groups",
            "Even or uneven",
            ["The corpus tells no attribute by which to compare groups of three speakers or more."],
        )
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
