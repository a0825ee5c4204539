"""The evaluation of one run: numbers, tables, pictures, report and model card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from speech2face.corpus.ids import video_of
from speech2face.evaluation.compare import compare_with_all
from speech2face.evaluation.inputs import Aligned, Inputs, align
from speech2face.evaluation.measure import Measured, measure
from speech2face.measures.ranking import recall_curve, stand_among_speakers
from speech2face.measures.retrieval import distances, middle_rank
from speech2face.measures.scores import COSINES, row_scores
from speech2face.measures.similarity import similarities
from speech2face.measures.statistics import rounded
from speech2face.measures.verification import roc_curve
from speech2face.pipeline.atomic import write_json, write_text
from speech2face.report.figures import choose_spread, draw_strip
from speech2face.report.model_card import model_card
from speech2face.report.pages import Shown, sections, summary, warnings
from speech2face.report.report import write_report

ROC_POINTS = 201
INTERVAL = ("value", "low", "high")


def evaluate(
    inputs: Inputs,
    settings: dict[str, Any],
    seed: int,
    out: Path,
    card: Path | None = None,
    comparisons: Path | None = None,
) -> dict[str, Any]:
    """Evaluate the first of `inputs.predicted`; return the metrics, and write into `out`:

    metrics.json; report.html; strip.png (with `inputs.decode` and `inputs.pictures`); tables/*.csv. `card` is where the model
    card goes; `comparisons` is a directory of other experiments' clips.csv, each of which this run is set against. settings: the
    `evaluation` section of params.yaml (confidence, resamples, pictures). The same inputs and seed give the same bytes. Raises
    ValueError for inputs that do not fit, a speaker in two splits, or a comparison that is not the clips.csv of an evaluation.
    """
    # Many small sums: threads would cost more than they give, and one order of adding gives the same bytes everywhere.
    with threadpool_limits(1):
        return _evaluate(inputs, settings, seed, out, card, comparisons)


def _evaluate(
    inputs: Inputs, settings: dict[str, Any], seed: int, out: Path, card: Path | None, comparisons: Path | None
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    aligned = align(inputs)
    measured = measure(inputs, aligned, settings, seed)
    tables = make_tables(aligned, measured)
    (out / "tables").mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_csv(out / "tables" / f"{name}.csv", index=False, float_format="%.6g")
    compared = compare_with_all(out / "tables" / "clips.csv", comparisons, settings, seed)
    shown = _choose_pictures(inputs, aligned, measured, settings["pictures"])
    if shown:
        titles = [f"{p.standing} {p.speaker}, mean rank {p.rank:.4g}".strip() for p in shown]
        rows = [(label, [person.pictures[label] for person in shown]) for label in shown[0].pictures]
        draw_strip(out / "strip.png", rows, titles)
    parts = sections(inputs, aligned, measured, tables, shown, compared, settings["confidence"])
    write_report(out / "report.html", summary(measured.metrics), parts, warnings(measured.metrics))
    if card is not None:
        training = aligned.training["speaker_id"]
        trained_on = {"Training speakers": str(training.nunique()), "Training clips": str(len(training))}
        description = {**inputs.description, **(trained_on if len(training) else {})}
        text = model_card(measured.metrics, description, bool(inputs.roles), settings["confidence"])
        write_text(card, text)
    metrics = measured.metrics | ({"comparisons": rounded(compared.as_metrics())} if compared.tables else {})
    write_json(out / "metrics.json", metrics)
    return metrics


def make_tables(aligned: Aligned, measured: Measured) -> dict[str, pd.DataFrame]:
    """The tables behind the report's charts, for DVC plots, and `clips`, by which two experiments are compared.

    Which systems, attributes and groups there are differs by corpus. They are named in rows and not in columns or files, so that
    dvc.yaml's plots fit every corpus.
    """
    ranks = np.arange(1, len(aligned.speakers) + 1)
    recall = {name: recall_curve(stand_among_speakers(aligned, f)) for name, f in measured.systems.items()}
    recall["chance"] = ranks / len(ranks)
    curves = [pd.DataFrame({"system": name, "rank": ranks, "recall": curve}) for name, curve in recall.items()]
    tables = {"recall": pd.concat(curves, ignore_index=True)}
    false_positives, true_positives = roc_curve(measured.trials, measured.over_rows, np.ones((1, len(aligned.clips))))
    grid = np.linspace(0, 1, ROC_POINTS)
    places = np.searchsorted(false_positives[0], grid, "right") - 1
    tables["roc"] = pd.DataFrame(
        {"false_positive_rate": grid, "true_positive_rate": true_positives[0][places], "chance": grid}
    )
    tables["clips"] = _clips(aligned, measured)
    tables["embeddings"] = _embeddings(aligned, measured)
    confusions = [pd.DataFrame(columns=["attribute", "true", "read"])]
    for attribute in measured.attributes:
        if not attribute.is_number and attribute.name in measured.metrics["attributes"]:
            read = attribute.probe.predict(measured.systems["voice"][attribute.known])
            confusions.append(pd.DataFrame({"attribute": attribute.name, "true": attribute.truth, "read": read}))
    tables["confusions"] = pd.concat(confusions, ignore_index=True)
    groups = {
        f"{name}: {group}": entry["recall_at_10_percent"]["value"]
        for name, entries in measured.metrics["groups"].items()
        for group, entry in entries.items()
    }
    groups["all speakers"] = measured.metrics["recall_at_10_percent"]
    tables["groups"] = pd.DataFrame({"group": list(groups), "recall_at_10_percent": list(groups.values())})
    tables["measures"] = _measures(measured.metrics)
    return tables


def _measures(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Measures between -1 and 1 with their intervals, by section of the metrics and by what they were taken from."""
    found = []
    for length, values in metrics["similarity"].items():
        found += [("similarity", f"{name}, {length} heard", "voice", values[name]) for name in COSINES]
    for section in ("attributes", "controls"):
        for name, sources in metrics[section].items():
            for source, read in sources.items() if isinstance(sources, dict) and "voice" in sources else ():
                found += [(section, f"{name}_{k}", source, read[k]) for k in ("accuracy", "correlation") if k in read]
    found += [("craniofacial", name, "voice", value) for name, value in metrics.get("craniofacial", {}).items()]
    rows = [(section, name, source, *(value[k] for k in INTERVAL)) for section, name, source, value in found]
    return pd.DataFrame(rows, columns=["section", "measure", "source", *INTERVAL])


def _clips(aligned: Aligned, measured: Measured) -> pd.DataFrame:
    voice = measured.systems["voice"]
    columns = row_scores(aligned, voice) | similarities(voice, aligned.true, aligned.training_mean)
    for source, name in (("voice", "decoded_cosine"), ("true_feature", "decoded_true_cosine")):
        if source in measured.decoded:
            columns[name] = similarities(measured.decoded[source], aligned.true, aligned.training_mean)["cosine"]
    table = aligned.clips[["clip_id", "speaker_id"]].assign(rank=middle_rank(measured.found), **columns)
    for attribute in measured.attributes:
        name, rows, read = attribute.name, np.flatnonzero(attribute.known), attribute.probe.predict(voice)
        table[f"{name}_true"] = pd.Series(attribute.truth, index=rows).reindex(table.index)
        table[f"{name}_from_voice"] = read
        # What `compare` needs, because a file does not tell a class "1" from a number, or a class "NA" from a gap.
        if attribute.is_number:
            measure_name, values = "absolute_error", np.abs(attribute.truth - read[rows])
        else:
            measure_name, values = "accuracy", (attribute.truth == read[rows]).astype(np.float64)
        table[f"{name}_{measure_name}"] = pd.Series(values, index=rows).reindex(table.index)
    return table


def _embeddings(aligned: Aligned, measured: Measured) -> pd.DataFrame:
    """Two principal components of the test speakers' faces, axes from training faces, and of the mean of their voices."""
    fitted_on = aligned.means[[split == "train" for split in aligned.video_splits]]
    if min(fitted_on.shape) < 2:
        fitted_on = aligned.means
    plane = PCA(2, svd_solver="full").fit(fitted_on)
    heard = sorted(set(aligned.clips["speaker"]))
    voice = measured.systems["voice"]
    voices = np.stack([voice[(aligned.clips["speaker"] == speaker).to_numpy()].mean(0) for speaker in heard])
    parts = []
    for source, features in (("face", aligned.gallery[heard]), ("voice", voices)):
        x, y = plane.transform(features).T
        speakers = [aligned.speakers[speaker] for speaker in heard]
        parts.append(pd.DataFrame({"speaker_id": speakers, "source": source, "component_1": x, "component_2": y}))
    return pd.concat(parts, ignore_index=True)


def _choose_pictures(inputs: Inputs, aligned: Aligned, measured: Measured, count: int) -> list[Shown]:
    """Pictures of test speakers' first clips, from the best speaker to the worst by the mean rank of their clips."""
    if inputs.decode is None or inputs.pictures is None:
        return []
    ranks, voice = middle_rank(measured.found), measured.systems["voice"]
    first = aligned.clips.drop_duplicates("speaker_id").index.to_numpy()
    of_speaker = pd.Series(ranks).groupby(aligned.clips["speaker_id"]).mean()
    mean_ranks = of_speaker[aligned.clips["speaker_id"].iloc[first]].to_numpy()
    chosen, standings = zip(*choose_spread(mean_ranks, count), strict=True)
    rows = first[list(chosen)]
    face_of = {video_of(face): face for face in sorted(inputs.faces.face_ids, reverse=True)}
    nearest = [aligned.speakers[column] for column in distances(voice[rows], aligned.gallery).argmin(1)]
    first_video = {video.split("/")[0]: video for video in reversed(aligned.videos)}
    asked = aligned.clips.iloc[rows]
    own = [face_of.get(v, face_of[first_video[s]]) for s, v in zip(asked["speaker_id"], asked["video"], strict=True)]
    true = inputs.pictures(own)
    neighbours = inputs.pictures([face_of[first_video[speaker]] for speaker in nearest])
    from_true, from_voice = (inputs.decode(f[rows].astype(np.float32))[0] for f in (aligned.true, voice))
    shown = []
    for place, row in enumerate(rows):
        pictures = {
            "true face": true[place],
            "from its feature": from_true[place],
            "from the voice": from_voice[place],
            "nearest in gallery": neighbours[place],
        }
        speaker = str(aligned.clips["speaker_id"].iloc[row])
        shown.append(Shown(speaker, float(of_speaker[speaker]), standings[place], nearest[place], pictures))
    return shown
