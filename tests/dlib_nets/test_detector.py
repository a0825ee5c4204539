"""Parts of the detector; that its boxes are dlib's is tested in tests/faces/test_detection.py."""

import numpy as np
import pytest
import torch

from speech2face.dlib_nets.detector import MAX_PIXELS, Detector, load_detector, suppress
from tests.dlib_nets import pictures


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(device="cpu")


def area(left, top, right, bottom):
    return max(right - left + 1, 0) * max(bottom - top + 1, 0)


def plainly_suppress(boxes, max_iou, max_covered):
    kept = []
    for index, a in enumerate(boxes):
        for other in kept:
            b = boxes[other]
            inner = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
            hull = area(min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
            if inner and (inner / hull > max_iou or inner / area(*a) > max_covered or inner / area(*b) > max_covered):
                break
        else:
            kept.append(index)
    return kept


@pytest.mark.parametrize(("max_iou", "max_covered"), [(0.338, 1.0), (0.5, 0.6), (0.1, 0.95), (0.9, 0.3)])
def test_suppression_is_the_plain_double_loop(max_iou, max_covered):
    rng = np.random.default_rng(0)
    for num in (0, 1, 2, 40, 200):
        low = rng.integers(-50, 200, (num, 2))
        boxes = np.concatenate([low, low + rng.integers(0, 120, (num, 2))], axis=1)
        assert suppress(boxes, max_iou, max_covered).tolist() == plainly_suppress(boxes.tolist(), max_iou, max_covered)


def test_overlap_is_measured_against_the_hull_not_the_union():
    # Two squares moved along the diagonal: 64 / (36 + 36 + 64 = 100 + 100 - 64) = 0.47 by union, 64 / 144 = 0.44 by hull
    boxes = np.array([[0, 0, 9, 9], [2, 2, 11, 11]])
    assert suppress(boxes, 0.46, 1.0).tolist() == [0, 1]
    assert suppress(boxes, 0.44, 1.0).tolist() == [0]


def test_batches_give_what_single_pictures_give(detector):
    rng = np.random.default_rng(1)
    images = torch.from_numpy(np.stack([pictures.picture(rng, "several", 130) for _ in range(3)]))
    for found, image in zip(detector(images), images, strict=True):
        alone = detector(image[None])[0]
        assert len(found.boxes) >= 1
        np.testing.assert_array_equal(found.boxes, alone.boxes)
        np.testing.assert_allclose(found.confidences, alone.confidences, rtol=0, atol=1e-5)


def test_parameters_are_frozen(detector):
    assert not any(parameter.requires_grad for parameter in detector.parameters())
    assert not detector.training


@pytest.mark.parametrize(
    ("images", "upsample", "message"),
    [
        (torch.zeros(20, 20, 3, dtype=torch.uint8), 0, r"uint8 \[B, H, W, 3\]"),
        (torch.zeros(1, 3, 20, 20, dtype=torch.uint8), 0, r"uint8 \[B, H, W, 3\]"),
        (torch.zeros(1, 20, 20, 3), 0, "float32"),
        (torch.zeros(1, 0, 20, 3, dtype=torch.uint8), 0, "not empty"),
        (torch.zeros(1, 20, 20, 3, dtype=torch.uint8), -1, "upsample must be in 0..8, got -1"),
        (torch.zeros(1, 20, 20, 3, dtype=torch.uint8), 10**9, "upsample must be in 0..8"),
        (torch.zeros(1, 6000, 6000, 3, dtype=torch.uint8), 0, f"more than {MAX_PIXELS} pixels"),
        (torch.zeros(1, 400, 400, 3, dtype=torch.uint8), 4, "doubled 4 times"),
    ],
)
def test_bad_pictures(detector, images, upsample, message):
    with pytest.raises(ValueError, match=message):
        detector(images, upsample)
