"""dlib's face detector and face embedder, read from dlib's own model files and run in PyTorch."""

from speech2face.dlib_nets.detector import Detector, load_detector
from speech2face.dlib_nets.embedder import Embedder, load_embedder

__all__ = ["Detector", "Embedder", "load_detector", "load_embedder"]
