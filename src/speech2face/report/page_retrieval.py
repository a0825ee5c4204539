"""The section of the report on retrieval, matching and verification."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from speech2face.report import charts
from speech2face.report.report import Cell, Picture, Section, Table, number, svg_picture, with_lines, words

GALLERIES = {
    "speaker_mean": "mean face, centred cosine",
    "speaker_mean_raw_cosine": "mean face, raw cosine",
    "speaker_mean_l1": "mean face, L1",
    "speaker_mean_l2": "mean face, L2",
    "same_video": "same video",
    "cross_video": "other video",
    "galleries_of_100": "galleries of 100",
}
AMOUNTS = {"speaker": "all recordings of a speaker", "all": "one recording, whole"}
DECODED = {
    "true_feature": "decoded from the true feature",
    "voice": "decoded from the voice",
    "voice_stretched": "decoded from the voice, stretched",
}
MEASURES = (
    *(f"recall_at_{k}" for k in (1, 2, 5, 10)),
    *(f"recall_at_{k}_percent" for k in (1, 2, 5, 10)),
    "median_rank",
    "mean_reciprocal_rank",
)


def retrieval_section(results: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> Section:
    """Recall by gallery, matching, verification, their curves, and how much of a voice is enough."""
    return Section(
        "retrieval",
        "Retrieval, matching, verification",
        tables=[
            _retrieval_table(results["retrieval"]),
            _hubs_table(results["hubs"]),
            _matching_table(results["matching"], results["verification"]),
            _amounts_table(results["amount_of_speech"]),
            *([_decoded_table(results["decoded"])] if "decoded" in results else []),
        ],
        charts=[
            _recall_chart(results, tables["recall"]),
            _roc_chart(results, tables["roc"]),
            _amounts_chart(tables["amount_of_speech"]),
        ],
    )


def _retrieval_table(galleries: Mapping[str, Any]) -> Table:
    rows = [[Cell("gallery size"), *(number(g["gallery_size"], 1) for g in galleries.values())]]
    rows += [[Cell(words(name)), *(_with_chance(g.get(name)) for g in galleries.values())] for name in MEASURES]
    note = (
        "By centred cosine among one mean face a test speaker, unless said otherwise: the mean training face is subtracted from prediction "
        "and faces first. The video that the voice is from is part of the mean face. "
        "Same video: the face of the very video that the voice is from. Other video: of another of the speaker's, which shares nothing "
        "but the speaker. A percentage of the gallery is rounded up to whole faces, and chance with it. Equal distances count as in "
        "random order. Where few succeed (recall at 1 or 2) the intervals are too narrow: resampling cannot show what did not happen."
    )
    columns = ["measure", *(GALLERIES.get(name, words(name)) for name in galleries)]
    return Table("Finding the face of a voice", columns, rows, note)


def _hubs_table(hubs: Mapping[str, Any]) -> Table:
    rows = [
        [
            Cell("voices whose nearest face is the commonest one"),
            *(_with_chance(entry["hub_share"]) for entry in hubs.values()),
        ],
        [Cell("faces that are nearest to a voice"), *(number(entry["distinct_nearest"]) for entry in hubs.values())],
    ]
    note = (
        "A hub is a face that is the nearest to many voices, whoever speaks. Where there is one, recall says more about that face than "
        "about the voices. Chance is a random order for each recording."
    )
    return Table("Hubs", ["measure", *(GALLERIES[name] for name in hubs)], rows, note)


def _matching_table(matching: Mapping[str, Any], verification: Mapping[str, Any]) -> Table:
    names = [name for entry in matching.values() for name, value in entry.items() if isinstance(value, dict)]
    rows = [[Cell("gallery size"), *(number(entry["gallery_size"], 1) for entry in matching.values())]]
    rows += [
        [Cell(words(name)), *(_with_chance(entry.get(name)) for entry in matching.values())]
        for name in dict.fromkeys(names)
    ]
    rows += [
        [Cell(f"verification: {words(name)}"), *(_with_chance(entry.get(name)) for entry in verification.values())]
        for name in ("area_under_curve", "equal_error_rate")
    ]
    return Table("Matching and verification", ["measure", *(f"others: {words(name)}" for name in matching)], rows)


def _amounts_table(amounts: Mapping[str, Any]) -> Table:
    names = dict.fromkeys(name for entry in amounts.values() for name in entry)
    rows = [[Cell(words(name)), *(_with_chance(entry.get(name)) for entry in amounts.values())] for name in names]
    note = (
        "The same recordings, of which the model heard more or less: the predictions from all recordings of a speaker are averaged, and so "
        "are those from all segments of a recording; a number of seconds is the beginning of its first segment."
    )
    return Table(
        "How much of a voice is enough", ["measure", *(AMOUNTS.get(name, name) for name in amounts)], rows, note
    )


def _decoded_table(decoded: Mapping[str, Any]) -> Table:
    sources = {source: entry for source, entry in decoded.items() if source in DECODED}
    names = dict.fromkeys(name for entry in sources.values() for name in entry)
    rows = [[Cell(words(name)), *(_with_chance(entry.get(name)) for entry in sources.values())] for name in names]
    reader = words(decoded["read_by"]) or "a face network"
    note = (
        f"The faces that the decoder draws, read again by {reader} and looked for among the test speakers' true features. "
        + (
            "This network had a part in training the decoder: its own gradient drew these faces, and that it recognises them is "
            "no evidence. For evidence train with decoder.weights.embedding at 0."
            if decoded["taught_the_decoder"]
            else "This network had no part in training the decoder."
        )
        + f" Stretched: the prediction {decoded['stretch']:.2g} times as far from the mean face, as far as real faces lie."
    )
    return Table("Decoded faces, read again", ["measure", *(DECODED[source] for source in sources)], rows, note)


def _amounts_chart(amounts: pd.DataFrame) -> Picture:
    recall = amounts[amounts["measure"] == "recall_at_10_percent"]
    names = [AMOUNTS.get(name, name) for name in recall["heard"]]
    points = list(zip(names, recall["value"], recall["low"], recall["high"], strict=True))
    return svg_picture(
        charts.intervals(points, recall["chance"].tolist(), "recall at 10 % of the gallery", "chance"),
        f"Recall at 10 % of the gallery by what was heard: {'; '.join(f'{point[0]} {point[1]:.2f}' for point in points)}.",
        "Recall by how much was heard, with intervals.",
    )


def _recall_chart(results: Mapping[str, Any], recall: pd.DataFrame) -> Picture:
    lines = {
        words(str(name)): (curve["rank"].to_numpy(), curve["recall"].to_numpy())
        for name, curve in recall.groupby("system", sort=False)
    }
    at_ten = results["retrieval"]["speaker_mean"]["recall_at_10_percent"]["value"]
    return svg_picture(
        charts.curves(lines, "rank", "recall", log_x=True),
        f"Recall by rank for the voice, the baselines and chance; the voice reaches {at_ten:.2f} at 10 % of the gallery.",
        "Recall by rank: part of the voices whose face is among so many nearest.",
    )


def _roc_chart(results: Mapping[str, Any], roc: pd.DataFrame) -> Picture:
    area = results["verification"]["all"].get("area_under_curve", {}).get("value", float("nan"))
    grid = roc["false_positive_rate"].to_numpy()
    lines = {"voice": (grid, roc["true_positive_rate"].to_numpy()), "chance": (grid, grid)}
    return svg_picture(
        charts.curves(lines, "false positive rate", "true positive rate"),
        f"ROC curve of verification; the area under it is {area:.3f}.",
        "Verification over all pairs of a test voice and a test face.",
    )


def _with_chance(estimate: Mapping[str, float] | None) -> Cell:
    if not estimate or "value" not in estimate:
        return Cell("–")
    return with_lines(estimate, f"chance {estimate['chance']:.3g}")
