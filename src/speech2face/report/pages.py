"""The sections of the report, from a run's results, tables and pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from speech2face.measures.aligned import Aligned
from speech2face.measures.differences import Comparisons
from speech2face.measures.inputs import Inputs
from speech2face.measures.leaks import is_certain
from speech2face.measures.measure import Measured
from speech2face.measures.scores import COSINES, chance_scores
from speech2face.report import charts
from speech2face.report.page_attributes import attributes_section, controls_section
from speech2face.report.page_measures import (
    MEASURE_NAMES,
    comparisons_section,
    craniofacial_section,
    groups_section,
    similarity_section,
    systems_section,
)
from speech2face.report.page_retrieval import retrieval_section
from speech2face.report.report import Cell, Person, Section, Table, number, photo, svg_picture, words
from speech2face.report.verdicts import describe_controls, describe_leaks, describe_regression, is_regression_better

FEW_SPEAKERS = 20  # below which percentile intervals are much too narrow
MOST_REJECTS = 40
STRETCHED = "the same, stretched"
"""The face of a prediction that is as far from the mean face as real faces are."""


@dataclass(frozen=True)
class Shown:
    """Pictures uint8 RGB [H, W, 3] of one test speaker's first clip by label, and who is nearest to it.

    rank: of the right face, mean over the speaker's clips; label: best, median or worst of all test speakers, or empty.
    """

    speaker: str
    rank: float
    label: str
    nearest: str
    pictures: dict[str, np.ndarray]


def summary(results: Mapping[str, Any]) -> str:
    """The outcome in a few sentences."""
    gallery, counts, leaks = results["retrieval"]["speaker_mean"], results["counts"], results["leaks"]
    recall, raw = (results["retrieval"][name]["recall_at_10_percent"] for name in results["hubs"])
    hub, raw_hub = (100 * entry["hub_share"]["value"] for entry in results["hubs"].values())
    unseen = " who were not in training"
    if is_certain(leaks):
        unseen = ", not all of them new to the model (see the warning)"
    elif leaks["look_alikes"]:
        unseen = ", perhaps not all of them new to the model (see the warning)"
    return (
        f"{counts['test_clips']} recordings of {counts['test_speakers']} speakers{unseen}. For "
        f"{100 * recall['value']:.0f} % of them ({100 * recall['low']:.0f} to {100 * recall['high']:.0f} %) the right face is "
        f"among the nearest 10 % of {gallery['gallery_size']} faces; chance is {100 * recall['chance']:.0f} %. That is by centred cosine; "
        f"by raw cosine it is {100 * raw['value']:.0f} %. One face is the nearest to {hub:.0f} % of the recordings, by raw cosine to "
        f"{raw_hub:.0f} %. What is drawn is a typical face for a voice, never the speaker's likeness, and no picture is exaggerated."
    )


def warnings(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the numbers."""
    found = []
    if is_regression_better(results["systems"]):
        found.append(describe_regression(results["systems"]))
    if (num_speakers := results["counts"]["test_speakers"]) < FEW_SPEAKERS:
        found.append(
            f"Only {num_speakers} test speakers: intervals by bootstrap over so few are too narrow; nothing is settled."
        )
    if "same_video" in results["retrieval"] and "cross_video" not in results["retrieval"]:
        found.append(
            "Each test speaker has one video, so a voice is only ever compared with a face from its own video. What the two share (place, "
            "light, camera, day) looks like a link between voice and face, and cannot be separated from one here."
        )
    if results["controls"]["distinguishable"]:
        found.append(
            f"Leak: attributes are read from the voice that it cannot know: {results['controls']['distinguishable_names']}. Something "
            "other than the voice reaches the model, or the corpus ties what it should not."
        )
    leaks = results["leaks"]
    if is_certain(leaks):
        found.append(
            f"Leak: {leaks['shared_files']} test clips share a file with another split, and {leaks['identical_faces']} test "
            f"videos show the very face of another split's ({leaks['names']})."
        )
    elif leaks["look_alikes"]:
        found.append(
            f"{leaks['look_alikes']} test speakers look far more like a speaker of another split than training speakers look like "
            f"each other; check that none is in the corpus under two names ({leaks['names']})."
        )
    return found


def sections(
    inputs: Inputs,
    aligned: Aligned,
    measured: Measured,
    tables: Mapping[str, pd.DataFrame],
    shown: Sequence[Shown],
    compared: Comparisons,
    confidence: float,
) -> list[Section]:
    """All sections, in order."""
    results = measured.results
    return [
        _headline(results, confidence),
        _people(shown, inputs.stretch),
        retrieval_section(results, tables),
        attributes_section(measured),
        controls_section(results),
        similarity_section(results),
        systems_section(results),
        *([comparisons_section(compared, confidence)] if compared.tables or compared.skipped else []),
        *([craniofacial_section(results, confidence)] if "craniofacial" in results else []),
        groups_section(results),
        _map(inputs, tables["embeddings"]),
        _failures(inputs, aligned, results),
        _about(inputs),
    ]


def _headline(results: Mapping[str, Any], confidence: float) -> Section:
    voice, oracle = results["systems"]["voice"], results["systems"].get("oracle", {})
    gallery_size = results["retrieval"]["speaker_mean"]["gallery_size"]
    chances: dict[str, float] = chance_scores(gallery_size)
    if "mean_feature" in results["systems"]:
        chances |= {name: results["systems"]["mean_feature"][name]["value"] for name in COSINES}
    for name, sources in results["attributes"].items():
        chances |= {f"{name}_correlation": 0.0, f"{name}_accuracy": sources["voice"].get("majority", 0.0)}
    learned = results.get("fraction_of_knowable", {})
    rows = [
        [
            Cell(MEASURE_NAMES.get(name, words(name))),
            number(estimate),
            number(chances.get(name)),
            number(oracle.get(name)),
            number(learned.get(name), 2),
        ]
        for name, estimate in voice.items()
    ]
    note = (
        f"Beneath each number its {100 * confidence:g} % interval, by bootstrap over speakers; the gallery is the same in each resample. "
        "Chance of a cosine is what the mean training face gives everyone; the centred one is of the differences from that face. Chance "
        "of an accuracy is the commonest class. The ceiling is an oracle: it is given the true linked attributes and no voice. “Of the "
        "knowable” is (this run − chance) / (ceiling − chance)."
    )
    columns = ["measure", "this run", "chance", "ceiling", "of the knowable"]
    title = f"{results['counts']['test_speakers']} test speakers, gallery of {gallery_size}"
    verdict = describe_controls(results["controls"])
    texts = [f"Negative controls: {verdict}"] if verdict else []
    if (regression := describe_regression(results["systems"])) and not is_regression_better(results["systems"]):
        texts.append(regression)  # a better one is among the warnings
    return Section("headline", "Headline", texts, [Table(title, columns, rows, note)])


def _people(shown: Sequence[Shown], stretch: float) -> Section:
    texts = [
        "From the speaker whose face is found best to the one found worst, by the mean rank over a speaker's clips, evenly spaced in that "
        "order on either side of the median. The pictures are of the speaker's first clip. A decoded face is frontal and neutral. Hair, "
        "skin and background are averages where they cannot be known from the voice. A prediction is nearer to the mean face than real "
        f"faces are, because what cannot be heard is left out of it. Stretched, it is {stretch:.2g} times as far from the mean face, as "
        "far as real faces are: the differences that were heard are easier to see, and so are the mistakes."
    ]
    if not shown:
        texts = ["No pictures: this evaluation was given no decoder or no face crops."]
    people = []
    for person in shown:
        title = f"{person.speaker}: mean rank {person.rank:.4g}{f' ({person.label})' if person.label else ''}"
        alts = {
            "true face": f"Picture of speaker {person.speaker}",
            "from its feature": f"Face decoded from the true feature of {person.speaker}",
            "from the voice": f"Face decoded from the voice of {person.speaker}",
            STRETCHED: f"The same of {person.speaker}, farther from the mean face",
            "nearest in gallery": f"Picture of {person.nearest}, the nearest face to the voice of {person.speaker}",
        }
        captions = {"nearest in gallery": f"nearest in gallery: {person.nearest}"}
        pictures = [photo(image, alts[name], captions.get(name, name)) for name, image in person.pictures.items()]
        people.append(Person(title, pictures))
    return Section("pictures", "Faces from best to worst", texts, people=people)


def _map(inputs: Inputs, embeddings: pd.DataFrame) -> Section:
    faces, voices = (embeddings[embeddings["source"] == source] for source in ("face", "voice"))
    group = ["speaker"] * len(faces)
    if "sex" in inputs.attributes:
        of_clip = inputs.attributes["sex"].dropna()
        of_speaker = of_clip.groupby(of_clip.index.str.split("/").str[0]).first()
        group = of_speaker.reindex(faces["speaker_id"]).fillna("unknown").tolist()
    true, heard = (table[["component_1", "component_2"]].to_numpy() for table in (faces, voices))
    caption = (
        "Test speakers on the two main axes of training faces: filled, the true feature; open, the mean of what the voice predicts, "
        "joined by a line. Predictions lie close together where voices do not distinguish people."
    )
    alt = f"Map of {len(faces)} test speakers' true and predicted features on two principal components, coloured by group."
    return Section(
        "map", "Map of embeddings", charts=[svg_picture(charts.embedding_map(true, heard, group), alt, caption)]
    )


def _failures(inputs: Inputs, aligned: Aligned, results: Mapping[str, Any]) -> Section:
    texts, tables = [], []
    rejects = inputs.rejects
    if rejects is None or rejects.empty:
        texts.append("No clip and no picture was rejected by an earlier stage.")
    else:
        counts = Counter(zip(rejects["stage"], rejects["reason"], strict=True))
        reasons = [
            [Cell(f"{stage}: {words(reason)}"), number(count)] for (stage, reason), count in sorted(counts.items())
        ]
        tables.append(Table("Rejected, by reason", ["reason", "items"], reasons))
        first = rejects.head(MOST_REJECTS).astype(str).to_dict("records")
        listed = [[Cell(row["item"]), Cell(words(row["reason"])), Cell(row["message"])] for row in first]
        tables.append(
            Table(f"The first {len(first)} of {len(rejects)}", ["item", "reason", "message"], listed, numbers=False)
        )
    if inputs.num_without_face:
        texts.append(f"Test clips that have no face to be compared with, and were left out: {inputs.num_without_face}.")
    if of_speaker := int((aligned.clips["video_row"] < 0).sum()):
        texts.append(
            f"Test clips whose own video has no face: {of_speaker}. They are compared with the mean face of their speaker, also where it "
            "says “of the same video”, and left out of the galleries of videos."
        )
    if results["not_evaluated"]:
        rows = [[Cell(words(name)), Cell(reason)] for name, reason in results["not_evaluated"].items()]
        tables.append(Table("Not evaluated", ["what", "because"], rows, numbers=False))
    texts.append(describe_leaks(results["leaks"]))
    return Section("failures", "Failures and leaks", texts, tables)


def _about(inputs: Inputs) -> Section:
    rows = [[Cell(name), Cell(value)] for name, value in inputs.description.items()]
    texts = [
        "This model draws a typical face for a voice, never an identity. It must not be used to identify, find, verify or judge "
        "anyone. What a voice does not shape (hair, skin, glasses, background) is an average of the training faces and says nothing "
        "about the speaker. It works unevenly across groups, and only as well as the tables above say.",
    ]
    return Section(
        "about",
        "What this is not",
        texts,
        [Table("This run", ["setting", "value"], rows, numbers=False)] if rows else [],
    )
