"""Sections of the report on similarity, systems, other experiments, proportions of faces, and groups of speakers."""

from collections.abc import Mapping
from typing import Any

from speech2face.measures.differences import Comparisons
from speech2face.report import charts
from speech2face.report.report import Cell, Section, Table, number, svg_picture, with_lines, words
from speech2face.report.verdicts import describe_heard

MEASURE_NAMES = {
    "centred_cosine": "cosine, centred on the mean training face",
    "recall_at_10_percent": "recall at 10 % of the gallery",
    "recall_at_10_percent_raw": "the same by raw cosine",
    "reciprocal_rank": "mean reciprocal rank",
    "one_of_2": "choosing one of two faces",
    "decoded_cosine": "cosine, face decoded from the voice and true feature",
    "decoded_true_cosine": "cosine, face decoded from the true feature and that feature",
}


def similarity_section(results: Mapping[str, Any]) -> Section:
    """Similarity by the length heard."""
    lengths = results["similarity"]
    rows = [
        [
            Cell(words(name)),
            *(
                with_lines(
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
    opinions = [_opinions_table(results["insightface"])] if "insightface" in results else []
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


def systems_section(results: Mapping[str, Any]) -> Section:
    """The same measures of the model, the baselines and the oracle."""
    systems = results["systems"]
    names = list(dict.fromkeys(name for entry in systems.values() for name in entry))
    rows = [
        [Cell(MEASURE_NAMES.get(name, words(name))), *(_with_difference(entry.get(name)) for entry in systems.values())]
        for name in names
    ]
    note = (
        "Mean feature: everyone gets the mean training face. Ridge: linear regression from the mean spectrogram or from the "
        "fundamental frequency. Oracle: regression from the true linked attributes; it learns from the same few speakers, so it is "
        "no strict bound. Δ: the difference from this run, paired over speakers; above 0 the baseline is better, but "
        "where the interval of Δ includes 0, neither is distinguishable from the other."
    )
    table = Table("The same measures of each", ["measure", *map(words, systems)], rows, note)
    return Section("baselines", "Baselines and ceiling", tables=[table])


def _with_difference(value: Mapping[str, Any] | None) -> Cell:
    """An estimate, and beneath it by how much it differs from the voice's."""
    if value is None or "value" not in (difference := value.get("difference", {})):
        return number(value)
    low, high = difference["low"], difference["high"]
    return with_lines(value, f"Δ {difference['value']:+.3f}", f"{low:+.3f} to {high:+.3f}")


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
        f"Set aside: {words(name)} was evaluated on other test clips than this run, or by other measures; run that experiment again on "
        "this corpus."
        for name in compared.skipped
    ]
    return Section("comparisons", "Settings against each other", texts, tables)


def craniofacial_section(results: Mapping[str, Any], confidence: float) -> Section:
    """Correlations of the twelve measures."""
    results = results["craniofacial"]
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


def groups_section(results: Mapping[str, Any]) -> Section:
    """Measures by group of speakers, and of those whom the encoder may have heard."""
    groups, texts, tables = results["groups"], [], []
    if heard := results.get("may_have_been_heard"):
        texts.append(describe_heard(heard))
        entries = {words(name): entry for name, entry in heard.items() if name != "corpora"}
        tables.append(_groups_table("Heard before by the speaker encoder", entries))
    if not groups:
        texts.append("The corpus has no attribute by which to compare groups of three speakers or more.")
        return Section("groups", "Even or uneven", texts, tables)
    points = []
    for name, entries in groups.items():
        tables.append(_groups_table(words(name), entries))
        for group, entry in entries.items():
            value = entry["recall_at_10_percent"]
            points.append((f"{words(name)}: {group}", value["value"], value["low"], value["high"]))
    whole = results["retrieval"]["speaker_mean"]["recall_at_10_percent"]["value"]
    chart = charts.intervals(points, [whole] * len(points), "recall at 10 % of the gallery", "all speakers")
    alt = "Recall at 10 % of the gallery by group: " + "; ".join(f"{p[0]} {p[1]:.2f}" for p in points) + "."
    return Section(
        "groups", "Even or uneven", texts, tables, [svg_picture(chart, alt, "Recall by group, with intervals.")]
    )


def _groups_table(title: str, entries: Mapping[str, Any]) -> Table:
    keys = list(dict.fromkeys(key for entry in entries.values() for key in entry))
    rows = [[Cell(group), *(number(entry.get(key)) for key in keys)] for group, entry in entries.items()]
    return Table(title, ["group", *(MEASURE_NAMES.get(key, words(key)) for key in keys)], rows)
