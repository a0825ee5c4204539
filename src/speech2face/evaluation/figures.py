"""Pictures of the evaluation: strips of faces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LABEL_PX = 20
MARGIN_PX = 4
SIDE_PX = 224


def choose_spread(scores: np.ndarray, count: int) -> list[int]:
    """Indices of `count` rows from the lowest score to the highest, evenly spaced in rank: best, median and worst, not only
    the best. Ties go by index."""
    order = np.argsort(scores, kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return [int(order[round(place)]) for place in places]


def draw_strip(path: Path, rows: Sequence[tuple[str, Sequence[np.ndarray]]], titles: Sequence[str]) -> None:
    """Write a table of pictures uint8 RGB [H, W, 3]: one labelled row for each of `rows`, columns captioned by row names.

    rows: (name, pictures), a picture a column; titles: of the columns.
    """
    font = ImageFont.load_default(13)
    name_px = 8 + int(max(font.getlength(name) for name, _ in rows))
    cell = SIDE_PX + MARGIN_PX
    strip = Image.new("RGB", (name_px + cell * len(titles), LABEL_PX + cell * len(rows)), "white")
    pen = ImageDraw.Draw(strip)
    for column, title in enumerate(titles):
        pen.text((name_px + column * cell, 3), title, "black", font)
    for row, (name, pictures) in enumerate(rows):
        top = LABEL_PX + row * cell
        pen.text((4, top + SIDE_PX // 2), name, "black", font)
        for column, picture in enumerate(pictures):
            image = Image.fromarray(picture).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
            strip.paste(image, (name_px + column * cell, top))
    strip.save(path, optimize=True)
