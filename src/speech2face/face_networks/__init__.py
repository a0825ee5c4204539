"""Face networks: three backends behind one small interface, and the weight files that users bring."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speech2face.face_networks.vgg_face import VggFace


def load_vgg_face(path: str | Path, feature_layer: str = "fc7", sha256: str | None = None) -> "VggFace":
    """A VGG-Face network from any of the public files; arguments and errors as `vgg_face_file.load_vgg_face`.

    `.embed(crops)` takes [B, 3, 224, 224], RGB in 0..1, to fc7 [B, 4096]; `.logits(features)` takes those to [B, 2622].
    """
    from speech2face.face_networks import vgg_face_file  # here, so that importing the package stays light

    return vgg_face_file.load_vgg_face(path, feature_layer, sha256)
