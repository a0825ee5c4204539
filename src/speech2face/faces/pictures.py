"""Reading pictures: whatever a camera or a dataset left, to upright 8-bit RGB of bounded size."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from speech2face.pipeline.rejects import UnusableError, first_line, is_of_the_machine

# Pictures only: Pillow hands others, such as PostScript, to programs outside.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
MAX_PIXELS = 120_000_000  # 0.36 GB as RGB; JPEGs are scaled down while they are decoded, so larger ones of those pass

# Of sizes, which MAX_PIXELS bounds, and of damaged entries, which are ignored. For good, because pictures are read by several threads, and
# a filter for a part of the code is not one thread's own.
warnings.filterwarnings("ignore", module=r"PIL\.")

ORIENTATION = 0x0112
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
TRANSPOSED = {  # EXIF 2.32, 4.6.4: what brings each orientation but 1 upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(path: Path, max_px: int) -> np.ndarray:
    """A picture as uint8 RGB [H, W, 3], turned upright by its EXIF entry, its longer side at most `max_px`.

    Grey, 16-bit, CMYK and palette pictures are converted; what is transparent becomes white.
    Raises UnusableError with reason `missing_file`, `unreadable` or `too_large`; OSError if the machine is to blame.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.draft("RGB", (max_px, max_px))
            if image.width * image.height > MAX_PIXELS:
                raise UnusableError(
                    "too_large",
                    f"{path}: {image.width} x {image.height} pixels, at most {MAX_PIXELS:,}; scale it down",
                )
            return np.asarray(_to_rgb(_upright(image), max_px))
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, UnusableError) or is_of_the_machine(error):
            raise
        if isinstance(error, OSError) and error.errno is not None:  # the disk's: the decoder's errors have no number
            text = f"{path}: {first_line(error)}, though it was there when the corpus was listed; run again"
            raise UnusableError("missing_file", text) from None
        what = first_line(error) if str(error) else "not a picture"
        raise UnusableError("unreadable", f"{path}: {what}; copy it again or leave it out") from None


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
    """A picture turned and mirrored as its EXIF entry says; as it is where the entries are damaged.

    Not by Pillow's own `exif_transpose`, which writes all other entries anew, and fails where one of them has an odd type.
    """
    image.load()  # in a PNG the entries may come after the picture
    try:
        method = TRANSPOSED.get(_orientation(image))
    except Exception as error:  # of any type: Pillow trusts what the entries say of themselves
        if is_of_the_machine(error):
            raise
        return image
    return image if method is None else image.transpose(method)


def _orientation(image: Image.Image) -> int:
    """The orientation of a picture. Read here where there is a block of EXIF, because Pillow gives up at the first damaged entry.

    TIFF 6.0, section 2: byte order, 42, and where the entries are; their number, and of each the tag, type, count and value, 12 bytes.
    """
    block: bytes = image.info.get("exif", b"").removeprefix(b"Exif\0\0")
    if order := BYTE_ORDERS.get(block[:4]):
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", block, place)
            if tag == ORIENTATION:
                return int(value)
    return image.getexif().get(ORIENTATION, 1)  # of a TIFF, in XMP, or in the older way of a PNG


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
