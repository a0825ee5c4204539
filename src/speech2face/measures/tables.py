"""The tables behind the report's charts, and `clips`, by which two experiments are compared."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from speech2face.measures.aligned import Aligned
from speech2face.measures.amounts import amounts_table
from speech2face.measures.measure import Measured
from speech2face.measures.principal import principal_axes
from speech2face.measures.ranking import recall_curve
from speech2face.measures.retrieval import middle_rank
from speech2face.measures.similarity import similarities
from speech2face.measures.systems import COSINES
from speech2face.measures.views import picked

ROC_POINTS = 201
MOST_VIDEOS = 16_384  # of which the axes of a picture are taken, evenly among all
INTERVAL = ("value", "low", "high")


def make_tables(aligned: Aligned, measured: Measured) -> dict[str, pd.DataFrame]:
    """The tables by name, for DVC plots as well.

    Which systems, attributes and groups there are differs by corpus. They are named in rows and not in columns or files, so that
    dvc.yaml's plots fit every corpus.
    """
    return {
        "recall": _recall(aligned, measured),
        "roc": _roc(measured),
        "clips": _clips(aligned, measured),
        "embeddings": _embeddings(aligned, measured),
        "confusions": _confusions(measured),
        "groups": _groups(measured.results),
        "amount_of_speech": amounts_table(measured.results["amount_of_speech"]),
        "measures": _measures(measured.results),
    }


def _recall(aligned: Aligned, measured: Measured) -> pd.DataFrame:
    """Recall by rank of each system, and chance."""
    ranks = np.arange(1, len(aligned.speakers) + 1)
    recall = {name: recall_curve(system.ranks) for name, system in measured.systems.items()}
    recall["chance"] = ranks / len(ranks)
    curves = [pd.DataFrame({"system": name, "rank": ranks, "recall": curve}) for name, curve in recall.items()]
    return pd.concat(curves, ignore_index=True)


def _roc(measured: Measured) -> pd.DataFrame:
    """The ROC curve of verification on an even grid of false positive rates."""
    verified, grid = measured.verified, np.linspace(0, 1, ROC_POINTS)
    places = np.searchsorted(verified.false_positives, grid, "right") - 1
    return pd.DataFrame(
        {"false_positive_rate": grid, "true_positive_rate": verified.true_positives[places], "chance": grid}
    )


def _confusions(measured: Measured) -> pd.DataFrame:
    """True class and class read from the voice, one row a clip and attribute."""
    confusions = [pd.DataFrame(columns=["attribute", "true", "read"])]
    for attribute in measured.attributes:
        if not attribute.is_number and attribute.name in measured.results["attributes"]:
            read = measured.systems["voice"].read(attribute)[attribute.known]
            confusions.append(pd.DataFrame({"attribute": attribute.name, "true": attribute.truth, "read": read}))
    return pd.concat(confusions, ignore_index=True)


def _groups(results: Mapping[str, Any]) -> pd.DataFrame:
    """Recall at 10 % of each group of speakers, and of all."""
    groups = {
        f"{name}: {group}": entry["recall_at_10_percent"]["value"]
        for name, entries in results["groups"].items()
        for group, entry in entries.items()
    }
    groups["all speakers"] = results["headline"]["recall_at_10_percent"]
    return pd.DataFrame({"group": list(groups), "recall_at_10_percent": list(groups.values())})


def _measures(results: Mapping[str, Any]) -> pd.DataFrame:
    """Measures between -1 and 1 with their intervals, by section of the results and by what they were taken from."""
    found = []
    for length, values in results["similarity"].items():
        found += [("similarity", f"{name}, {length} heard", "voice", values[name]) for name in COSINES]
    for section in ("attributes", "controls"):
        for name, sources in results[section].items():
            for source, read in sources.items() if isinstance(sources, dict) and "voice" in sources else ():
                found += [(section, f"{name}_{k}", source, read[k]) for k in ("accuracy", "correlation") if k in read]
    found += [("craniofacial", name, "voice", value) for name, value in results.get("craniofacial", {}).items()]
    rows = [(section, name, source, *(value[k] for k in INTERVAL)) for section, name, source, value in found]
    return pd.DataFrame(rows, columns=["section", "measure", "source", *INTERVAL])


def _clips(aligned: Aligned, measured: Measured) -> pd.DataFrame:
    """The scores of each test clip, and what was read of its attributes."""
    voice = measured.systems["voice"]
    columns = voice.scores | voice.near
    for source, name in (("voice", "decoded_cosine"), ("true_feature", "decoded_true_cosine")):
        if source in measured.decoded:
            columns[name] = similarities(measured.decoded[source], aligned.true, aligned.training_mean)["cosine"]
    table = aligned.clips[["clip_id", "speaker_id"]].assign(rank=middle_rank(measured.ranks), **columns)
    for attribute in measured.attributes:
        name, rows, read = attribute.name, np.flatnonzero(attribute.known), voice.read(attribute)
        table[f"{name}_true"] = pd.Series(attribute.truth, index=rows).reindex(table.index)
        table[f"{name}_from_voice"] = read
        # For comparisons of two files, where a class "1" looks like a number, and a class "NA" like a gap.
        if attribute.is_number:
            measure_name, values = "absolute_error", np.abs(attribute.truth - read[rows])
        else:
            measure_name, values = "accuracy", (attribute.truth == read[rows]).astype(np.float64)
        table[f"{name}_{measure_name}"] = pd.Series(values, index=rows).reindex(table.index)
    return table


def _embeddings(aligned: Aligned, measured: Measured) -> pd.DataFrame:
    """Two principal components of the test speakers' faces, axes from training faces, and of the mean of their voices."""
    fitted_on = np.flatnonzero([split == "train" for split in aligned.video_splits])
    if min(len(fitted_on), aligned.means.shape[1]) < 2:
        fitted_on = np.arange(len(aligned.means))
    some = fitted_on[:: -(-len(fitted_on) // MOST_VIDEOS)]
    middle, axes = principal_axes(picked(aligned.means, some), 2)
    heard = sorted(set(aligned.clips["speaker"]))
    voice = measured.systems["voice"].features
    voices = np.stack(
        [voice[(aligned.clips["speaker"] == speaker).to_numpy()].mean(0, dtype=np.float64) for speaker in heard]
    )
    parts = []
    for source, features in (("face", aligned.gallery[heard]), ("voice", voices)):
        x, y = ((features - middle) @ axes.T).T
        speakers = [aligned.speakers[speaker] for speaker in heard]
        parts.append(pd.DataFrame({"speaker_id": speakers, "source": source, "component_1": x, "component_2": y}))
    return pd.concat(parts, ignore_index=True)
