"""Resizing against dlib's own, to the last bit where bits count."""

import dlib
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from speech2face.dlib_nets.resizing import double_size, doubled_size, resize_float

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 9), (9, 1), (2, 3), (5, 5), (13, 17), (40, 41), (63, 127), (100, 64), (31, 300)]
)
def test_double_size_is_dlibs_to_the_bit(height, width):
    image = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rows, columns = doubled_size(height, width)
    doubled = double_size(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_array_equal(doubled, dlib.resize_image(image, rows, columns))


@pytest.mark.parametrize(("height", "width"), [(7, 12), (30, 31), (200, 224), (186, 640), (480, 642), (111, 1279)])
def test_a_level_of_the_pyramid_is_dlibs(height, width):
    image = np.random.default_rng(width).random((height, width), dtype=np.float32)
    size = (5 * height // 6, 5 * width // 6)
    level = resize_float(torch.from_numpy(image)[None, :, :, None], size)[0, :, :, 0].numpy()
    np.testing.assert_allclose(level, dlib.resize_image(image, *size), rtol=0, atol=3e-7)


def test_dlibs_drift_is_real():
    """PyTorch's own bilinear resizing, with corners aligned alike, is further away: the drift is no fuss about nothing."""
    image = np.random.default_rng(0).random((20, 1280), dtype=np.float32)
    size = (16, 1066)
    expected = torch.from_numpy(dlib.resize_image(image, *size))
    ours = resize_float(torch.from_numpy(image)[None, :, :, None], size)[0, :, :, 0]
    torchs = F.interpolate(torch.from_numpy(image)[None, None], size, mode="bilinear", align_corners=True)[0, 0]
    assert (ours - expected).abs().max() < 1e-6
    assert (torchs - expected).abs().max() > 1e-4


def test_batches_and_channels_are_independent():
    images = torch.rand(3, 20, 24, 2, generator=torch.Generator().manual_seed(0))
    together = resize_float(images, (16, 20))
    for index in range(3):
        for channel in range(2):
            alone = resize_float(images[index : index + 1, :, :, channel : channel + 1], (16, 20))
            assert torch.equal(together[index, :, :, channel], alone[0, :, :, 0])
