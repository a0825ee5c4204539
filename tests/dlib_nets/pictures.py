"""Pictures with and without faces, composed from a few rendered ones.

`tests/golden/faces` holds no photographs: they are `FaceRenderer(256, 24).render(draw_speaker(7, i), draw_video(7, i, 0))`
of this project's corpus, i from 1 to 7, saved as JPEG so that tests need no renderer.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

FACES_FOLDER = Path(__file__).parents[1] / "golden" / "faces"


def rendered_faces() -> list[np.ndarray]:
    """The rendered heads, RGB uint8 [256, 256, 3]; the detector's box of each is about 110 px wide."""
    return [np.array(Image.open(path).convert("RGB")) for path in sorted(FACES_FOLDER.glob("*.jpg"))]


def head(rng: np.random.Generator, size_px: int, turn_deg: float = 0.0) -> Image.Image:
    """One of the heads, cropped closely and resized; the face takes about 0.6 of it."""
    faces = rendered_faces()
    face = Image.fromarray(faces[rng.integers(len(faces))])
    if rng.random() < 0.5:
        face = face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if turn_deg:
        face = face.rotate(turn_deg, resample=Image.Resampling.BICUBIC)
    left, top = rng.integers(20, 50, size=2)
    return face.crop((left, top, left + 180, top + 180)).resize((size_px, size_px), Image.Resampling.BICUBIC)


def background(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Smooth or rough noise."""
    cells = int(rng.integers(2, 40))
    noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR)


def picture(rng: np.random.Generator, kind: str, size_px: int) -> np.ndarray:
    """A picture of about `size_px` x `size_px`, uint8 [H, W, 3].

    Kinds: scaled, rotated, blurred, noisy, lit, border (the face is cut off), several (two faces), odd (height and
    width unequal and of any parity), none (no face), narrow (a few pixels in one or both directions).
    """
    if kind == "none":
        return np.array(background(rng, size_px, size_px + int(rng.integers(0, 20))))
    if kind == "narrow":
        height, width = (int(rng.integers(1, 40)), int(rng.integers(1, size_px)))
        return np.array(background(rng, *((height, width) if rng.random() < 0.5 else (width, height))))
    turn_deg = rng.uniform(-35, 35) if kind == "rotated" else rng.uniform(-5, 5)
    face = head(rng, size_px, turn_deg)
    if kind == "blurred":
        face = face.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, size_px / 50)))
    if kind == "lit":
        face = ImageEnhance.Brightness(face).enhance(rng.uniform(0.3, 1.9))
    if kind == "noisy":
        noisy = np.array(face) + rng.normal(0, rng.uniform(5, 40), (size_px, size_px, 3))
        return np.clip(noisy, 0, 255).astype(np.uint8)
    if kind == "border":
        canvas = background(rng, size_px, size_px)
        shift = rng.integers(-size_px // 3, size_px // 3, size=2)
        canvas.paste(face, (int(shift[0]), int(shift[1])))
        return np.array(canvas)
    if kind == "odd":
        extra = rng.integers(0, size_px // 2, size=2)
        canvas = background(rng, size_px + int(extra[0]), size_px + int(extra[1]))
        canvas.paste(face, (int(rng.integers(extra[1] + 1)), int(rng.integers(extra[0] + 1))))
        return np.array(canvas)
    if kind == "several":
        canvas = background(rng, size_px, 2 * size_px)
        for corner in (0, size_px + int(rng.integers(-9, 10))):
            smaller = int(size_px * rng.uniform(0.85, 1.0))
            canvas.paste(head(rng, smaller), (corner, int(rng.integers(size_px - smaller + 1))))
        return np.array(canvas)
    assert kind in ("scaled", "rotated", "blurred", "lit"), kind
    return np.array(face)


KINDS = ("scaled", "rotated", "blurred", "noisy", "lit", "border", "several", "odd", "none", "narrow")
