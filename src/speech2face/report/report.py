"""The report: one self-contained page, made of sections of text, tables, charts and pictures."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from PIL import Image

from speech2face.pipeline.atomic import write_text
from speech2face.report.template import PAGE

JPEG_QUALITY = 88
UNIT = re.compile("_(years|cm|hz|db|deg|m)(?=_|$)")


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell, and smaller lines beneath it."""

    text: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows; the others hold numbers, or else text."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""
    numbers: bool = True


@dataclass(frozen=True)
class Picture:
    """An image with what it shows in words; `source` is a data URI."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Person:
    """Pictures of one test speaker."""

    title: str
    pictures: list[Picture]


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    id: str
    title: str
    texts: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Picture] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)


def write_report(path: Path, summary: str, sections: Sequence[Section], warnings: Sequence[str] = ()) -> None:
    """Write the page; every text is escaped."""
    template = Environment(autoescape=True).from_string(PAGE)
    write_text(path, template.render(summary=summary, sections=sections, warnings=warnings))


def svg_picture(svg: str, alt: str, caption: str) -> Picture:
    """A chart as a picture of the page."""
    return Picture(f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}", alt, caption)


def photo(image: np.ndarray, alt: str, caption: str) -> Picture:
    """uint8 RGB [H, W, 3] as a picture of the page."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", alt, caption)


def number(value: Any, digits: int = 3) -> Cell:
    """A number, or an estimate with its interval beneath; a dash where there is none."""
    if isinstance(value, dict):
        if "value" not in value:
            return Cell("–")
        return Cell(
            _text(value["value"], digits), (f"{_text(value['low'], digits)} to {_text(value['high'], digits)}",)
        )
    return Cell("–") if value is None else Cell(_text(value, digits))


def with_lines(estimate: Mapping[str, float], *lines: str) -> Cell:
    """An estimate with its interval, and more lines beneath."""
    cell = number(dict(estimate))
    return Cell(cell.text, (*cell.details, *lines))


def words(name: str) -> str:
    """A key of the results as words, a unit in brackets: "age_years" is "age (years)"."""
    text = UNIT.sub(r" (\1)", name).replace("_", " ")
    return re.sub(r"\bl([12])\b", r"L\1", text).replace(" percent", " %")


def _text(value: float, digits: int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{digits}f}" if abs(value) < 100 else f"{value:,.1f}"
