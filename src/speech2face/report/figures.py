"""Pictures of the evaluation: strips of faces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LABEL_PX = 20
MARGIN_PX = 4
SIDE_PX = 224


def choose_spread(scores: np.ndarray, count: int) -> list[tuple[int, str]]:
    """`count` rows from the lowest of the scores [N] to the highest, each as its index and a label: best, median, worst, or empty for
    those between, which are evenly spaced in rank on either side of the median.

    One alone is the median and two are the best and the worst, so that it is never only the best. Of an even N the lower of
    the middle two is the median. Ties go by index. A single score has no label.
    """
    order = np.argsort(scores, kind="stable")
    middle, last = (len(order) - 1) // 2, len(order) - 1
    count = min(count, len(order))
    to_middle = np.linspace(0, middle, (count + 1) // 2)
    from_middle = np.linspace(middle, last, count // 2 + 1)[1:]
    places = [middle] if count == 1 else [round(place) for place in (*to_middle, *from_middle)]
    labels = {middle: "median", 0: "best", last: "worst"} if last else {}
    return [(int(order[place]), labels.get(place, "")) for place in places]


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
    strip.save(path)
