"""VGG-Face: the VGG-16 of Parkhi, Vedaldi and Zisserman, "Deep Face Recognition" (BMVC 2015, table 3, configuration D).

The object has one canonical form whatever file its weights came from: input channels in the order red, green, blue;
fc6 over a channels-first pool5; the mean picture subtracted inside. `files/vgg_face.py` brings the public files into it.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from speech2face.face_networks.converted import read_converted
from speech2face.face_networks.vgg_face_layout import CHANNELS, CONVS_PER_BLOCK, FC_SIZES, MEAN_RGB, POOL5_SIZE, SIZE_PX

FEATURE_LAYERS = ("fc7", "fc7_relu")
RANGE_TOLERANCE = 1e-3  # a resized or warped crop may leave 0..1 by rounding


class VggFace(nn.Module):
    """VGG-16 with fc6, fc7 and fc8; 145,002,878 parameters at the published widths.

    Its `state_dict` has the keys and shapes of the public `vgg_face_dag.pth`. There is no dropout: the network is
    only ever used as a fixed measure of faces.

    Args:
        channels: output channels of the five blocks of convolutions.
        fc6_dim, fc7_dim: sizes of the two hidden layers; fc7 is the feature.
        num_classes: identities of fc8.
        feature_layer: `"fc7"`, before its ReLU, or `"fc7_relu"`, after it. The paper on Speech2Face does not say
            which; before is the default because it keeps the sign that a regression loss can use.
        mean: what is subtracted from pixels 0..255: three numbers (red, green, blue) or a picture [3, 224, 224].
    """

    mean: Tensor

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        fc6_dim: int = FC_SIZES[0],
        fc7_dim: int = FC_SIZES[1],
        num_classes: int = FC_SIZES[2],
        feature_layer: str = "fc7",
        mean: Sequence[float] | Tensor = MEAN_RGB,
    ) -> None:
        super().__init__()
        if feature_layer not in FEATURE_LAYERS:
            raise ValueError(f"feature_layer must be one of {', '.join(FEATURE_LAYERS)} (got {feature_layer!r})")
        if len(channels) != len(CONVS_PER_BLOCK):
            raise ValueError(f"channels must be {len(CONVS_PER_BLOCK)} numbers, one a block (got {tuple(channels)})")
        self.feature_layer = feature_layer
        self.feature_dim = fc7_dim
        self.num_classes = num_classes
        in_channels = 3
        for block, (out_channels, count) in enumerate(zip(channels, CONVS_PER_BLOCK, strict=True), 1):
            for index in range(1, count + 1):
                self.add_module(f"conv{block}_{index}", nn.Conv2d(in_channels, out_channels, 3, padding=1))
                in_channels = out_channels
        self.fc6 = nn.Linear(in_channels * POOL5_SIZE**2, fc6_dim)
        self.fc7 = nn.Linear(fc6_dim, fc7_dim)
        self.fc8 = nn.Linear(fc7_dim, num_classes)
        # On the CPU even where the weights are built on "meta"; outside the state_dict, whose keys are the public ones.
        mean = torch.as_tensor(mean, dtype=torch.float32, device="cpu")
        if mean.shape not in ((3,), (3, SIZE_PX, SIZE_PX)):
            raise ValueError(f"mean must be 3 numbers or [3, {SIZE_PX}, {SIZE_PX}] (got {list(mean.shape)})")
        self.register_buffer("mean", mean[:, None, None] if mean.ndim == 1 else mean, persistent=False)

    def pool5(self, pixels: Tensor) -> Tensor:
        """[B, 3, 224, 224] RGB, 0..255 less the mean, to the last pooled map [B, C, 7, 7]."""
        x = pixels
        for block, count in enumerate(CONVS_PER_BLOCK, 1):
            for index in range(1, count + 1):
                x = torch.relu(self.get_submodule(f"conv{block}_{index}")(x))
            x = nn.functional.max_pool2d(x, 2)
        return x

    def embed(self, crops: Tensor, landmarks: Tensor | None = None) -> Tensor:
        """Face features of crops, differentiable with respect to them.

        Args:
            crops: [B, 3, 224, 224], floating point, RGB in 0..1.
            landmarks: not used: VGG-Face takes the crop as it is. Accepted so that every backend is called alike.

        Returns:
            [B, feature_dim], fc7 before or after ReLU as `feature_layer` says.

        Raises:
            ValueError: crops of another shape, dtype or range.
        """
        check_crops(crops)
        pixels = crops.to(self.fc6.weight.dtype) * 255 - self.mean
        hidden = torch.relu(self.fc6(self.pool5(pixels).flatten(1)))
        feature = self.fc7(hidden)
        return torch.relu(feature) if self.feature_layer == "fc7_relu" else feature

    def logits(self, features: Tensor) -> Tensor:
        """Class scores [B, num_classes], before softmax, of features [B, feature_dim] as `embed` returns them.

        fc8 was trained on fc7 after ReLU, so features from before it pass the ReLU here. Features from after it go to
        fc8 unchanged: true ones are not negative, and on a predicted one a second ReLU would only cut off the
        gradient of each coordinate that is below zero.
        """
        if features.ndim != 2 or features.shape[1] != self.feature_dim:
            raise ValueError(f"features must be [B, {self.feature_dim}] (got {list(features.shape)})")
        return self.fc8(torch.relu(features) if self.feature_layer == "fc7" else features)


def open_vgg_face(path: Path, feature_layer: str = "fc7") -> VggFace:
    """The network of a converted file, its weights mapped into memory: frozen, in evaluation mode, on the CPU.

    Args:
        path: as `store.converted` returns it.
        feature_layer: "fc7" or "fc7_relu", see `VggFace`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a converted VGG-Face.
    """
    tensors, _ = read_converted(path, "vgg_face")
    mean = tensors.pop("mean")
    with torch.device("meta"):  # no memory for weights that are replaced at once
        network = VggFace(
            channels=[len(tensors[f"conv{block}_1.bias"]) for block in range(1, len(CONVS_PER_BLOCK) + 1)],
            fc6_dim=len(tensors["fc6.bias"]),
            fc7_dim=len(tensors["fc7.bias"]),
            num_classes=len(tensors["fc8.bias"]),
            feature_layer=feature_layer,
            mean=mean,
        )
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def check_crops(crops: Tensor, size_px: int = SIZE_PX) -> None:
    """Refuse crops that a network would accept and answer wrongly: other shapes, integers, 0..255, -1..1, NaN."""
    if crops.ndim != 4 or tuple(crops.shape[1:]) != (3, size_px, size_px):
        raise ValueError(
            f"crops must be [B, 3, {size_px}, {size_px}] (got {list(crops.shape)}): resize, and put channels first"
        )
    if not crops.is_floating_point():
        raise ValueError(f"crops must be floating point in 0..1 (got {crops.dtype}): use crops.float() / 255")
    if crops.shape[0] == 0:
        return
    low, high = (bound.item() for bound in torch.aminmax(crops.detach()))
    if not low >= -RANGE_TOLERANCE or not high <= 1 + RANGE_TOLERANCE:  # so written, NaN fails too
        remedy = "map them to 0..1 or clamp them" if low < -RANGE_TOLERANCE else "divide pixels by 255"
        if low != low or high != high:
            remedy = "they hold NaN"
        raise ValueError(f"crops must be RGB in 0..1 (got {low:.4g}..{high:.4g}): {remedy}")
