"""Reading pictures: whatever a camera or a dataset left, to upright 8-bit RGB of bounded size."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from speech2face.pipeline.rejects import UnusableError

# Pictures only: Pillow hands others, such as PostScript, to programs outside.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
MAX_PIXELS = 120_000_000  # 0.36 GB as RGB; JPEGs are scaled down while they are decoded, so larger ones of those pass


def read_picture(path: Path, max_px: int) -> np.ndarray:
    """A picture as uint8 RGB [H, W, 3], turned upright by its EXIF entry, its longer side at most `max_px`.

    Grey, 16-bit, CMYK and palette pictures are converted; what is transparent becomes white.
    Raises UnusableError with reason `missing_file`, `unreadable` or `too_large`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below replaces it
            with Image.open(path, formats=FORMATS) as image:
                image.draft("RGB", (max_px, max_px))
                if image.width * image.height > MAX_PIXELS:
                    raise UnusableError(
                        "too_large",
                        f"{path}: {image.width} x {image.height} pixels, at most {MAX_PIXELS:,}; scale it down",
                    )
                return np.asarray(_to_rgb(_upright(image), max_px))
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, UnusableError):
            raise
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # the disk's and not the decoder's, whose errors have no number
            text = f"{path}: {error.strerror}, though it was there when the corpus was listed; run again"
            raise UnusableError("missing_file", text) from None
        raise UnusableError(
            "unreadable", f"{path}: {str(error).splitlines()[0] if str(error) else 'not a picture'}"
        ) from None


def decode_jpeg(content: bytes) -> np.ndarray:
    """A stored crop as uint8 RGB [H, W, 3]."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """uint8 RGB [H, W, 3] as a JPEG with full colour resolution."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) or image


def _to_rgb(image: Image.Image, max_px: int) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # 16-bit grey: PIL's own conversion would clip at 255 instead of scaling.
        values = np.asarray(image, np.float64)
        image = Image.fromarray(np.clip(values / 257, 0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    image = image.convert("RGB")
    if max(image.size) > max_px:
        image.thumbnail((max_px, max_px), Image.Resampling.LANCZOS)
    return image
