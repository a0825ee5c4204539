"""The face decoder: a face feature to a frontal, neutral face.

Cole et al. 2017 (arXiv 1701.04851), section 3: from the feature, a shallow network predicts 68 landmarks, and a second
one a texture on the mean face shape; the picture is the texture warped from the mean shape to the landmarks. The first
layer (R^D -> R^1000) is the f_dec of the voice encoder's loss (Oh et al. 2019, section 3).

What the papers leave open, and what is done here:

* the output of f_dec is linear, its ReLU follows outside, so that the encoder's loss sees all 1,000 differences;
* texture and landmarks are predicted as differences from their training means, which are buffers, not parameters: the
  trainable networks are the papers' own. With a mean texture of zero (the default of `set_means`) so is the output;
* transposed convolutions of kernel 5 and stride 2 add up 3 taps in one pixel and 2 in the next, which leaves a grid of
  2, 4, 8 and 16 px. The texture network "resize", not in the paper, has none: it enlarges first and convolves then
  (Odena, Dumoulin & Olah 2016, 'Deconvolution and Checkerboard Artifacts', doi 10.23915/distill.00003);
* the texture is not squashed or clamped (`linear` must be a linear map); it is near 0..1: clamp a picture to store it.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from speech2face.models.warp import sparse_image_warp

SIZE_PX = 224
NUM_LANDMARKS = 68
START_SIZE_PX = 14
NUM_UPSAMPLINGS = 4
MIN_CHANNELS = 16
LANDMARK_SCALE_PX = 10.0
"""Pixels per unit of the landmark network's output, about the spread of landmarks between people."""
FINAL_GAIN = 0.1
"""Of the last layers' initial weights: the first pictures are close to the mean face."""
TEXTURES = ("cnn", "linear", "resize")


class DecodedFace(NamedTuple):
    """A batch of faces.

    texture: [B, 3, 224, 224] RGB, nominally 0..1, in the mean shape
    landmarks: [B, 68, 2] as (x, y) pixels, float32
    image: [B, 3, 224, 224] RGB, nominally 0..1, the texture warped to the landmarks; of the first faces only, if so asked
    """

    texture: Tensor
    landmarks: Tensor
    image: Tensor


class FaceDecoder(nn.Module):
    """Face feature to texture, landmarks and picture (Cole et al. 2017, section 3).

    Shape:
        input: [B, feature_dim]
        output: `DecodedFace` for B faces

    Args:
        feature_dim: size of the face feature.
        texture: "cnn" (fully connected to 14 x 14 x 256, four transposed convolutions of kernel 5 and stride 2, 1 x 1
            to RGB), "linear" (one linear map to 224 x 224 x 3) or "resize" (as "cnn", of `ResizeConv2d` in place of
            transposed convolutions).
        first_dim: size of the first layer's output.
        landmark_hidden_dim: size of the landmark network's hidden layer.
        texture_channels: channels at 14 x 14; after i upsamplings max(texture_channels / 2^i, 16).
        regularization: of the warp, see `sparse_image_warp`.
    """

    mean_landmarks: Tensor
    mean_texture: Tensor

    def __init__(
        self,
        feature_dim: int,
        texture: str = "cnn",
        first_dim: int = 1000,
        landmark_hidden_dim: int = 512,
        texture_channels: int = 256,
        regularization: float = 0.1,
    ) -> None:
        super().__init__()
        if texture not in TEXTURES:
            raise ValueError(f"texture must be one of {TEXTURES} (got {texture!r})")
        dimensions = {
            "feature_dim": feature_dim,
            "first_dim": first_dim,
            "landmark_hidden_dim": landmark_hidden_dim,
            "texture_channels": texture_channels,
        }
        for name, value in dimensions.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1 (got {value})")
        self.feature_dim = feature_dim
        self.regularization = regularization
        self.f_dec = nn.Linear(feature_dim, first_dim)
        self.relu = nn.ReLU()
        self.landmark_network = nn.Sequential(
            nn.Linear(first_dim, landmark_hidden_dim), nn.ReLU(), nn.Linear(landmark_hidden_dim, NUM_LANDMARKS * 2)
        )
        if texture == "linear":
            self.texture_network = _texture_linear(first_dim)
        else:
            self.texture_network = _texture_cnn(first_dim, texture_channels, resize=texture == "resize")
        self.register_buffer("mean_landmarks", torch.zeros(NUM_LANDMARKS, 2))
        self.register_buffer("mean_texture", torch.zeros(3, SIZE_PX, SIZE_PX))
        self._initialise()

    @torch.no_grad()
    def set_means(self, mean_landmarks: Tensor, mean_texture: Tensor | None = None) -> None:
        """Set the mean shape, from which textures are warped, and the mean texture, to which the network adds.

        Shape:
            mean_landmarks: [68, 2] as (x, y) pixels of the crop
            mean_texture: [3, 224, 224] RGB in 0..1, in the mean shape; None for zero, the papers' network unchanged

        Raises:
            ValueError: for other shapes, or values that are not finite.
        """
        if mean_texture is None:
            mean_texture = torch.zeros_like(self.mean_texture)
        for name, value in (("mean_landmarks", mean_landmarks), ("mean_texture", mean_texture)):
            buffer = self.get_buffer(name)
            if value.shape != buffer.shape or not value.isfinite().all():
                raise ValueError(f"{name} must be finite, {list(buffer.shape)} (got {list(value.shape)})")
            buffer.copy_(value)

    def forward(self, features: Tensor, num_drawn: int | None = None) -> DecodedFace:
        """Faces of features [B, feature_dim]; pictures of the first `num_drawn` of them, None for all.

        Raises:
            ValueError: for another shape, or before `set_means`.
        """
        if features.ndim != 2 or features.shape[1] != self.feature_dim:
            raise ValueError(f"features must be [B, {self.feature_dim}] (got {list(features.shape)})")
        if not self.mean_landmarks.any():
            raise ValueError(
                "the decoder has no mean shape yet: call set_means with the mean of the training landmarks"
            )
        texture, landmarks = self.unwarped(features)
        mean_landmarks = self.mean_landmarks.expand_as(landmarks[:num_drawn])
        # landmarks are (x, y), the warp takes (y, x)
        image, _ = sparse_image_warp(
            texture[:num_drawn],
            mean_landmarks.flip(-1),
            landmarks[:num_drawn].flip(-1),
            order=1,
            regularization=self.regularization,
        )
        return DecodedFace(texture, landmarks, image)

    def unwarped(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Textures and landmarks, see `DecodedFace`, of features that `forward` would take, which is not checked."""
        first = self.relu(self.f_dec(features))
        offsets = self.landmark_network(first).unflatten(1, (NUM_LANDMARKS, 2))
        # the means are float32, and so is what is added to them, whatever autocast makes of the networks
        landmarks = self.mean_landmarks + LANDMARK_SCALE_PX * offsets.to(self.mean_landmarks.dtype)
        return self.mean_texture + self.texture_network(first), landmarks

    def _initialise(self) -> None:
        """He et al. 2015 for layers before a ReLU; small last layers; biases zero."""
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                # each output pixel sees kernel^2 / stride^2 taps of each input channel
                taps = module.kernel_size[0] ** 2 / module.stride[0] ** 2
                nn.init.normal_(module.weight, std=(2 / (module.in_channels * taps)) ** 0.5)
            elif isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            for last in (self.landmark_network[-1], self.texture_network.get_submodule("to_rgb")):
                assert isinstance(last, nn.Linear | nn.Conv2d)
                last.weight.mul_(FINAL_GAIN)


def to_pictures(images: Tensor) -> NDArray[np.uint8]:
    """Float [N, 3, H, W] in 0..1, clipped to it, as uint8 RGB [N, H, W, 3]."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


class ResizeConv2d(nn.Conv2d):
    """Double a picture's size by repeating each pixel (nearest neighbour), then convolve it (Odena et al. 2016).

    Shape:
        input: [B, in_channels, H, W]
        output: [B, out_channels, 2 H, 2 W]

    The kernel is 3 x 3, and beyond the border all is zero.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        # Both steps at once, in under half the multiplications: each input pixel adds to 4 x 4 output pixels the kernel,
        # turned, and summed over the 2 x 2 places where the pixel is repeated.
        kernel = F.avg_pool2d(self.weight.flip(2, 3), kernel_size=2, stride=1, padding=1, divisor_override=1)
        return F.conv_transpose2d(features, kernel.transpose(0, 1), self.bias, stride=2, padding=1)


def _texture_cnn(first_dim: int, channels: int, resize: bool) -> nn.Sequential:
    """R^first_dim to [3, 224, 224] through 14 x 14, 28 x 28, 56 x 56, 112 x 112 and 224 x 224 (Cole et al. 2017).

    Each step is a transposed convolution, or with `resize` a `ResizeConv2d`.
    """
    network = nn.Sequential()
    network.add_module("fc", nn.Linear(first_dim, START_SIZE_PX**2 * channels))
    network.add_module("unflatten", nn.Unflatten(1, (channels, START_SIZE_PX, START_SIZE_PX)))
    network.add_module("relu0", nn.ReLU())
    in_channels = channels
    for i in range(1, NUM_UPSAMPLINGS + 1):
        out_channels = max(channels // 2**i, MIN_CHANNELS)
        # padding 2 and output padding 1 make kernel 5, stride 2 double the size exactly
        up = (
            ResizeConv2d(in_channels, out_channels)
            if resize
            else nn.ConvTranspose2d(in_channels, out_channels, kernel_size=5, stride=2, padding=2, output_padding=1)
        )
        network.add_module(f"up{i}", up)
        network.add_module(f"relu{i}", nn.ReLU())
        in_channels = out_channels
    network.add_module("to_rgb", nn.Conv2d(in_channels, 3, kernel_size=1))
    return network


def _texture_linear(first_dim: int) -> nn.Sequential:
    """R^first_dim to [3, 224, 224] by one linear map."""
    network = nn.Sequential()
    network.add_module("to_rgb", nn.Linear(first_dim, 3 * SIZE_PX**2))
    network.add_module("unflatten", nn.Unflatten(1, (3, SIZE_PX, SIZE_PX)))
    return network
