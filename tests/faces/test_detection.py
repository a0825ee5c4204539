"""The detector's boxes against those of dlib itself, on pictures of all sorts."""

import dlib
import numpy as np
import pytest
import torch

from speech2face.dlib_nets.weights import DETECTOR, model_path
from speech2face.faces import detection
from speech2face.faces.detection import Detection, detect
from tests.dlib_nets import pictures

pytestmark = pytest.mark.slow

# Sizes at which the face is just large enough to be found, so that dlib's 6 us a pixel stay bearable.
SIZES_PX = {0: (130, 175), 1: (66, 90), 2: (33, 46)}
NUM_PICTURES = {0: 4, 1: 4, 2: 3}  # of each kind; 110 in all
CONFIDENCE_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def dlib_detector() -> dlib.cnn_face_detection_model_v1:
    return dlib.cnn_face_detection_model_v1(str(model_path(DETECTOR)))


def by_dlib(detector, image: np.ndarray, upsample: int) -> list[Detection]:
    faces = detector(image, upsample)
    boxes = [(face.rect.left(), face.rect.top(), face.rect.right(), face.rect.bottom()) for face in faces]
    return [Detection(box, face.confidence) for box, face in zip(boxes, faces, strict=True)]


def assert_same(found: list[Detection], expected: list[Detection]) -> None:
    assert [face.box for face in found] == [face.box for face in expected]
    for face, other in zip(found, expected, strict=True):
        assert face.confidence == pytest.approx(other.confidence, abs=CONFIDENCE_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("upsample", SIZES_PX)
@pytest.mark.parametrize("kind", pictures.KINDS)
def test_boxes_are_dlibs(dlib_detector, kind, upsample):
    rng = np.random.default_rng([pictures.KINDS.index(kind), upsample])
    num_faces = 0
    for _ in range(NUM_PICTURES[upsample]):
        image = pictures.picture(rng, kind, int(rng.integers(*SIZES_PX[upsample])))
        found = detect([image], upsample)[0]
        if detection.is_too_small(*image.shape[:2], upsample):
            assert found == []  # dlib fails on these, or worse
            continue
        assert_same(found, by_dlib(dlib_detector, image, upsample))
        num_faces += len(found)
    if kind not in ("none", "narrow"):
        assert num_faces >= NUM_PICTURES[upsample] / 2  # the comparison is about something


def test_a_large_picture_with_many_faces(dlib_detector):
    rng = np.random.default_rng(5)
    canvas = pictures.background(rng, 480, 640)
    for left, top, size_px in ((-40, 10, 200), (170, -30, 150), (330, 60, 290), (20, 250, 260), (300, 370, 170)):
        canvas.paste(pictures.head(rng, size_px), (left, top))
    image = np.array(canvas)
    found = detect([image])[0]
    assert len(found) >= 4
    assert_same(found, by_dlib(dlib_detector, image, 0))


def test_a_box_may_reach_over_the_border(dlib_detector):
    face = pictures.rendered_faces()[3][:, 100:]
    found = detect([face])[0]
    assert found[0].box[0] < 0
    assert_same(found, by_dlib(dlib_detector, face, 0))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (6, 40), (40, 9), (3, 3), (9, 9), (7, 10), (8, 11)])
@pytest.mark.parametrize("library", detection.LIBRARIES)
def test_tiny_pictures_have_no_faces_and_crash_nothing(monkeypatch, size, library):
    monkeypatch.setenv("S2F_FACE_LIBRARY", library)
    for upsample in (0, 1, 2):
        assert detect([np.full((*size, 3), 128, np.uint8)], upsample) == [[]]


def test_pictures_of_many_sizes_keep_their_order():
    faces = pictures.rendered_faces()
    images = [faces[0], faces[1][:200], faces[2], np.zeros((50, 60, 3), np.uint8), faces[1][:200]]
    together = detect(images)
    assert together == [detect([image])[0] for image in images]
    assert [len(found) for found in together] == [1, 1, 1, 0, 1]


def test_any_memory_layout_is_read_alike():
    face = pictures.rendered_faces()[0]
    read_only = face.copy()
    read_only.flags.writeable = False
    expected = detect([face])
    for image in (read_only, np.asfortranarray(face), face[:, ::-1][:, ::-1]):
        assert detect([image]) == expected


def test_best_first(dlib_detector):
    rng = np.random.default_rng(6)
    image = np.concatenate([pictures.picture(rng, "several", 150) for _ in range(2)])
    confidences = [face.confidence for face in detect([image])[0]]
    assert len(confidences) >= 3
    assert confidences == sorted(confidences, reverse=True)


def test_no_pictures():
    assert detect([]) == []


def test_the_engine_is_an_environment_setting(monkeypatch):
    face = pictures.rendered_faces()[0][40:200, 40:200]
    monkeypatch.delenv("S2F_FACE_LIBRARY", raising=False)
    expected = detect([face])
    calls = []
    monkeypatch.setattr(detection, "_dlib_detector", lambda real=detection._dlib_detector: calls.append(1) or real())
    for name, num_calls in (("torch", 0), ("dlib", 1)):
        monkeypatch.setenv("S2F_FACE_LIBRARY", name)
        assert_same(detect([face])[0], expected[0])
        assert len(calls) == num_calls
    monkeypatch.setenv("S2F_FACE_LIBRARY", "opencv")
    with pytest.raises(ValueError, match=r"S2F_FACE_LIBRARY must be one of torch, dlib \(got 'opencv'\)"):
        detect([face])


@pytest.mark.parametrize("library", detection.LIBRARIES)
@pytest.mark.parametrize(
    ("image", "upsample", "message"),
    [
        (np.zeros((20, 20, 3)), 0, r"picture 1 must be a uint8 array \[H, W, 3\], RGB \(got float64 \[20, 20, 3\]\)"),
        (np.zeros((20, 20), np.uint8), 0, r"got uint8 \[20, 20\]"),
        (np.zeros((20, 20, 4), np.uint8), 0, r"got uint8 \[20, 20, 4\]"),
        (np.zeros((3, 20, 20), np.uint8), 0, r"got uint8 \[3, 20, 20\]"),
        ([[[0, 0, 0]]], 0, "got list"),
        (None, 0, "got NoneType"),
        (np.zeros((0, 20, 3), np.uint8), 0, r"picture 1 is empty: \[0, 20, 3\]"),
        (np.zeros((20, 20, 3), np.uint8), -1, r"upsample must be in 0..8, got -1"),
        (np.zeros((20, 20, 3), np.uint8), 0.5, r"upsample must be a whole number \(got 0.5\)"),
        (np.zeros((9000, 9000, 3), np.uint8), 0, "9000 x 9000 pixels, .* make it smaller first"),
    ],
)
def test_bad_pictures_are_refused_before_any_work(monkeypatch, library, image, upsample, message):
    monkeypatch.setenv("S2F_FACE_LIBRARY", library)
    with pytest.raises(ValueError, match=message):
        detect([np.zeros((20, 20, 3), np.uint8), image], upsample)


def test_the_device_is_the_caller_s_or_the_machine_s(monkeypatch: pytest.MonkeyPatch):
    face = pictures.rendered_faces()[0]
    expected, devices = detect([face]), []
    real = detection._torch_detector

    def detector(device: torch.device):
        devices.append(device)
        return real(torch.device("cpu"))

    monkeypatch.setattr(detection, "_torch_detector", detector)
    monkeypatch.setattr(detection.machine, "device", lambda: torch.device("cuda:0"))
    assert detect([face], device=torch.device("cuda:3")) == detect([face]) == expected
    assert devices == [torch.device("cuda:3"), torch.device("cuda:0")]
