"""Names in VoxCeleb1's layout, which the reader looks for and the synthetic corpus is written in."""

META_NAME = "vox1_meta.csv"
ATTRIBUTES_NAME = "attributes.csv"
"""Optional, this project's own: what is known of single clips."""
FACE_FOLDER = "1.6"
"""The scale at which the faces were cut; the same for all."""
