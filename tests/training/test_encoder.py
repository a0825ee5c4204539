import torch

from speech2face.training.encoder import random_crop


def ramp(clips: int, frames: int) -> torch.Tensor:
    """Spectrograms whose value is the number of the frame."""
    return torch.arange(frames, dtype=torch.float16).expand(clips, 2, 257, frames)


def test_a_crop_is_a_run_of_frames_from_a_place_of_its_own():
    crops = random_crop(ramp(64, 601), 261, torch.Generator().manual_seed(0))
    assert crops.shape == (64, 2, 257, 261)
    starts = crops[:, 0, 0, 0]
    assert torch.equal(crops[:, 0, 0] - starts[:, None], torch.arange(261, dtype=torch.float16).expand(64, -1))
    assert starts.unique().numel() > 40
    assert starts.min() < 40 and starts.max() > 300


def test_the_last_place_can_be_drawn_and_none_beyond():
    starts = random_crop(ramp(4000, 12), 10, torch.Generator().manual_seed(0))[:, 0, 0, 0]
    assert set(starts.tolist()) == {0, 1, 2}


def test_no_crop_is_the_whole_clip():
    clips = ramp(2, 300)
    assert random_crop(clips, None, torch.Generator()) is clips
    assert random_crop(clips, 301, torch.Generator()) is clips
