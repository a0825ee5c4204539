"""The face table: one row a face crop."""

import pyarrow as pa

from speech2face.faces.landmarks import NUM_LANDMARKS
from speech2face.pipeline.shards import CLIP, table_schema

FACES = table_schema(
    ("face_id", pa.string()),
    *CLIP,
    ("frame", pa.int32()),
    ("image", pa.binary()),
    ("box", pa.list_(pa.int32(), 4)),
    ("inside", pa.list_(pa.float32(), 4)),
    ("confidence", pa.float32()),
    ("landmarks", pa.fixed_shape_tensor(pa.float32(), [NUM_LANDMARKS, 2])),
    ("yaw_deg", pa.float32()),
    ("sharpness", pa.float32()),
)
"""Face crops (JPEG, RGB); `box` is left, top, right, bottom in the picture it was cut from; landmarks are (x, y) in crop pixels.

`inside` is the part of the crop that lies in the picture: left, top, right, bottom edge in crop pixels, whole numbers at pixel centres:
-0.5, -0.5, 223.5, 223.5 where all of a crop of 224 px does. The rest is black.
"""
