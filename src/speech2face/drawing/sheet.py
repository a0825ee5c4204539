"""A contact sheet: many small faces with their names in one picture."""

import math
from collections.abc import Iterable

from PIL import Image, ImageDraw, ImageFont

FACE_PX = 160
LABEL_PX = 18
MARGIN_PX = 8
FONT_PX = 12
MAX_COLUMNS = 10


def contact_sheet(faces: Iterable[tuple[str, Image.Image]], count: int, note: str) -> Image.Image:
    """`count` faces, each with its name below, in rows of about as many as there are rows, and `note` under all of them.

    A name that is too long for its face loses its middle. Only one of the faces is in memory at a time beside the sheet.
    """
    columns = max(3, min(MAX_COLUMNS, math.ceil(math.sqrt(count))))
    across, down = FACE_PX + MARGIN_PX, FACE_PX + LABEL_PX + MARGIN_PX
    font = ImageFont.load_default(FONT_PX)
    width = columns * across + MARGIN_PX
    lines = _wrapped(note, width - 2 * MARGIN_PX, font)
    height = math.ceil(count / columns) * down + LABEL_PX * len(lines) + 2 * MARGIN_PX
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (name, face) in enumerate(faces):
        left, top = MARGIN_PX + number % columns * across, MARGIN_PX + number // columns * down
        sheet.paste(face.resize((FACE_PX, FACE_PX), Image.Resampling.LANCZOS), (left, top))
        pen.text((left, top + FACE_PX + 2), _fitted(name, FACE_PX, font), "black", font)
    for number, line in enumerate(lines):
        pen.text((MARGIN_PX, height - MARGIN_PX - LABEL_PX * (len(lines) - number)), line, "black", font)
    return sheet


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _fitted(name: str, width_px: int, font: Font) -> str:
    for kept in range(len(name) // 2, 0, -1):
        if font.getlength(name) <= width_px:
            break
        name_start, name_end = name[:kept], name[-kept:]
        if font.getlength(shorter := f"{name_start}…{name_end}") <= width_px:
            return shorter
    return name


def _wrapped(text: str, width_px: int, font: Font) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width_px and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
