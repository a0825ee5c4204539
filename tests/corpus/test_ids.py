"""What ids say of their speaker and video."""

import pytest

from speech2face.corpus.ids import speaker_of, video_of


@pytest.mark.parametrize("clip", ["id1/v/00001", "id1/v/00001/extra", "id1/v"])
def test_speaker_and_video_are_the_first_two_parts(clip):
    assert (speaker_of(clip), video_of(clip)) == ("id1", "id1/v")
