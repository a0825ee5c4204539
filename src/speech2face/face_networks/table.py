"""The feature table: one row a face."""

import pyarrow as pa

from speech2face.pipeline.shards import CLIP, table_schema


def features_schema(feature_dim: int) -> pa.Schema:
    """Face features, float32 [feature_dim], one row a face."""
    feature = ("feature", pa.fixed_shape_tensor(pa.float32(), [feature_dim]))
    return table_schema(("face_id", pa.string()), *CLIP, feature)
