"""Faces that voices typically have: Speech2Face as a cached, measured, repeatable pipeline.

from speech2face import Speech2Face

model = Speech2Face.load("models")
model.draw("voice.wav").save("face.png")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speech2face.drawing.model import Speech2Face

__version__ = "0.1.0"
__all__ = ["Speech2Face", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the model's class when it is first asked for: it needs torch, which takes seconds and the stages that list files do without."""
    if name == "Speech2Face":
        from speech2face.drawing.model import Speech2Face

        return Speech2Face
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
