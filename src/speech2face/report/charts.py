"""Charts of the report as SVG: one function a chart, each of plain numbers. The same numbers give the same bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

INK, MUTED = "#1b1f24", "#8a9099"
COLOURS = ("#0b6fa4", "#c4511c", "#3b8453", "#7b4ea3", "#a8862b", "#5b6b7a")  # distinct for the colour-blind too
STYLE: Any = {
    "svg.hashsalt": "speech2face",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.labelcolor": INK,
}
CHANCE: dict[str, Any] = {"color": MUTED, "linestyle": "--", "linewidth": 1.2}


def curves(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str, log_x: bool = False) -> str:
    """Lines by name, each (x, y); one named `chance` is dashed."""
    figure, axes = _figure(4.6, 3.8)
    colours = iter(COLOURS)
    for name, (x, y) in lines.items():
        style = CHANCE if name == "chance" else {"color": next(colours), "linewidth": 2}
        axes.plot(x, y, label=_literal(name), **style)
    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel=_literal(x_label), ylabel=_literal(y_label), ylim=(0, 1.02))
    figure.legend(frameon=False, loc="outside upper left", ncols=2)  # three would not fit the longest names
    return _svg(figure)


def confusion_matrix(counts: pd.DataFrame, title: str, x_label: str = "read from the voice") -> str:
    """Counts with true classes as rows, coloured by the part of its row."""
    size = max(2.6, 0.55 * len(counts) + 1.6)
    figure, axes = _figure(size, size)
    parts = counts.to_numpy() / np.maximum(1, counts.to_numpy().sum(1, keepdims=True))
    axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts.to_numpy()):
        axes.text(column, row, str(count), ha="center", va="center", color="white" if parts[row, column] > 0.6 else INK)
    axes.set(xlabel=_literal(x_label), ylabel="true", title=_literal(title))
    axes.set_xticks(
        range(len(counts)), [_literal(name) for name in counts.columns], rotation=90 if len(counts) > 4 else 0
    )
    axes.set_yticks(range(len(counts)), [_literal(name) for name in counts.index])
    axes.spines[:].set_visible(False)
    return _svg(figure)


def scatter(true: np.ndarray, read: np.ndarray, title: str) -> str:
    """A number as read from voices over its true value, with the line on which all would be right."""
    figure, axes = _figure(3.4, 3.4)
    ends = [min(true.min(), read.min()), max(true.max(), read.max())]
    axes.plot(ends, ends, **CHANCE)
    axes.scatter(true, read, s=14, color=COLOURS[0], alpha=0.7, linewidths=0)
    axes.set(xlabel="true", ylabel="read from the voice", title=_literal(title))
    return _svg(figure)


def intervals(
    rows: Sequence[tuple[str, float, float, float]], marks: Sequence[float], x_label: str, mark_label: str
) -> str:
    """One line a row: name, value, low, high; `marks` are compared with it (chance, or a published number)."""
    figure, axes = _figure(5.2, 0.32 * len(rows) + 1.2)
    places = np.arange(len(rows))[::-1]
    values = np.array([row[1:] for row in rows])
    axes.hlines(places, values[:, 1], values[:, 2], color=COLOURS[0], linewidth=2)
    axes.scatter(values[:, 0], places, s=26, color=COLOURS[0], zorder=3, label="this run")
    axes.scatter(marks, places, marker="|", s=90, color=COLOURS[1], zorder=3, label=_literal(mark_label))
    axes.set_yticks(places, [_literal(row[0]) for row in rows])
    axes.set(xlabel=_literal(x_label))
    figure.legend(frameon=False, loc="outside upper left", ncols=2)
    return _svg(figure)


def embedding_map(true: np.ndarray, voices: np.ndarray, group: Sequence[str]) -> str:
    """Points [S, 2] of the test speakers' true features and of their voices, joined, coloured by group."""
    figure, axes = _figure(5.2, 4.6)
    for colour, name in zip(COLOURS * len(group), sorted(set(group)), strict=False):
        rows = np.array([entry == name for entry in group])
        joined = np.stack([true[rows], voices[rows]], axis=1)
        axes.add_collection(LineCollection(list(joined), colors=colour, linewidths=0.5, alpha=0.4))
        axes.scatter(true[rows, 0], true[rows, 1], s=26, color=colour, label=_literal(f"{name}: face"))
        axes.scatter(
            voices[rows, 0],
            voices[rows, 1],
            s=26,
            facecolors="none",
            edgecolors=colour,
            label=_literal(f"{name}: voice"),
        )
    axes.set(xlabel="first principal component", ylabel="second principal component")
    figure.legend(frameon=False, fontsize=8, loc="outside upper left", ncols=2)
    return _svg(figure)


def _literal(text: object) -> str:
    """Text that matplotlib shows as it is; between two dollar signs it would read a formula."""
    return str(text).replace("$", r"\$")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
