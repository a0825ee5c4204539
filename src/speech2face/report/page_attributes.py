"""Sections of the report on what is read of attributes, and on the negative controls."""

from collections.abc import Mapping
from typing import Any

from speech2face.measures.attributes import Attribute, confusion
from speech2face.measures.measure import Measured
from speech2face.measures.views import Features
from speech2face.report import charts
from speech2face.report.report import Cell, Picture, Section, Table, number, svg_picture, words
from speech2face.report.verdicts import describe_controls

MOST_CLASSES = 12  # of a confusion matrix that can still be read
GUESSES = {
    "accuracy": "majority",
    "balanced_accuracy": "balanced_accuracy_of_guessing",
    "mean_absolute_error": "error_of_guessing_the_mean",
}
"""Where each measure has what guessing gives; that of a correlation is 0."""


def attributes_section(measured: Measured) -> Section:
    """What is read of the linked attributes, with confusion matrices and scatter charts."""
    attributes = measured.results["attributes"]
    if not attributes:
        return Section("attributes", "Attributes", ["The corpus has no attribute that could be read."])
    sources: dict[str, Features] = {"the true feature": measured.true, "the voice": measured.systems["voice"].features}
    if "voice" in measured.decoded:
        sources["the voice's decoded face"] = measured.decoded["voice"]
    shown: list[Picture] = []
    for attribute in measured.attributes:
        if attribute.name not in attributes:
            continue
        if attribute.is_number:
            shown.append(_scatter(attribute, sources["the voice"]))
        elif len(attribute.classes) <= MOST_CLASSES:
            shown += [_confusion_matrix(attribute, name, features) for name, features in sources.items()]
    note = (
        "Each attribute is read by a probe that was fitted on true face features of training speakers only. The same probe reads every "
        "source. Balanced accuracy is the mean over classes. Guessing: for accuracy, always the commonest class; for balanced accuracy, "
        "at best one over the classes that occur among the test clips; for an error, always the mean."
    )
    return Section("attributes", "Attributes", tables=[_attribute_table(attributes, note)], charts=shown)


def controls_section(results: Mapping[str, Any]) -> Section:
    """Which negative controls are read from the voice, and which cannot be tested."""
    controls = results["controls"]
    verdict = describe_controls(controls)
    if not verdict:
        return Section(
            "controls", "Negative controls", ["The corpus names no attribute that cannot be known from the voice."]
        )
    rows = []
    for name, results in controls.items():
        if not isinstance(results, Mapping) or "voice" not in results:
            continue  # of the verdict, or without a probe
        measure = next(m for m in ("balanced_accuracy", "correlation", "mean_absolute_error") if m in results["voice"])
        test = controls["tests"].get(name, {})
        rows.append(
            [
                Cell(f"{words(name)}: {words(measure)}"),
                number(results["voice"][measure]),
                number(results["true_feature"].get(measure)),
                number(_guess(results["voice"], measure), 2),
                number(test.get("p_value_of_faces"), 4),
                number(test.get("p_value"), 4),
                number(test.get("corrected_p_value"), 4),
            ]
        )
    text = (
        "Attributes that shape the voice or the face, never both. A model that reads one from the voice better than chance has found "
        f"a leak. {verdict}"
    )
    note = (
        "One-sided permutation tests: whole speakers exchange their values, within them videos and clips at random. Testable are the "
        "controls that the same probe reads from the true faces of the test speakers above chance. The p-values from the voice are "
        "corrected for their number (Holm). Where faces do not show a control the probe has nothing to read. Whether it is audible in "
        "the prediction stays unknown."
    )
    columns = ["control", "from the voice", "from the true feature", "guessing", "p of true faces", "p", "corrected p"]
    tables = [Table("Read from the voice?", columns, rows, note)] if rows else []
    return Section("controls", "Negative controls", [text], tables)


def _attribute_table(attributes: Mapping[str, Any], note: str) -> Table:
    sources = list(next(iter(attributes.values())))
    rows = []
    for name, results in attributes.items():
        for measure in ("accuracy", "balanced_accuracy", "correlation", "mean_absolute_error"):
            if any(measure in results[source] for source in sources):
                cells = [number(results[source].get(measure)) for source in sources]
                guess = number(_guess(results["voice"], measure))
                rows.append([Cell(f"{words(name)}: {words(measure)}"), *cells, guess])
    return Table("Read from", ["attribute", *map(words, sources), "guessing"], rows, note)


def _guess(results: Mapping[str, Any], measure: str) -> float:
    return 0.0 if measure == "correlation" else float(results[GUESSES[measure]])


def _scatter(attribute: Attribute, voice: Features) -> Picture:
    name = words(attribute.name)
    read = attribute.read(voice)[attribute.known]
    alt = f"{name} read from the voice over its true value, one point a clip, {len(read)} clips."
    return svg_picture(charts.scatter(attribute.truth, read, name), alt, f"{name}: read from voices over the truth.")


def _confusion_matrix(attribute: Attribute, source: str, features: Features) -> Picture:
    name = words(attribute.name)
    counts = confusion(attribute, features)
    cells = [
        f"true {true} read as {read}: {counts.loc[true, read]}" for true in counts.index for read in counts.columns
    ]
    return svg_picture(
        charts.confusion_matrix(counts, name, f"read from {source}"),
        f"Confusion matrix of {name} read from {source}. {'; '.join(cells)}.",
        f"{name}: number of clips, true class by class read from {source}.",
    )
