import pytest

from speech2face.estimate.corpora import CORPORA, chosen, parts
from speech2face.pipeline.params import Splits, load_params

VOX1 = CORPORA["voxceleb1"]


def test_the_published_numbers():
    """Counts of the datasets' papers; hours follow from the clips and their mean length."""
    counts = {name: (c.speakers, c.videos, c.clips) for name, c in CORPORA.items()}
    assert counts["voxceleb1"] == (1251, 22496, 148_642 + 4_874)
    assert counts["voxceleb2"] == (6112, 150480, 1_092_009 + 36_237)
    assert counts["avspeech"][:2] == (290_000, 290_000)
    hours = {name: c.clips * c.clip_s / 3600 for name, c in CORPORA.items()}
    assert hours == pytest.approx({"voxceleb1": 352, "voxceleb2": 2442, "avspeech": 4700}, rel=0.01)


def test_wav_files_are_as_long_as_their_clips():
    assert VOX1.sound_bytes == pytest.approx(VOX1.clip_s * 16_000 * 2, rel=0.01)


def test_a_part_keeps_the_proportions():
    part = VOX1.resized(clips=15_352)
    assert (part.clips, part.videos, part.speakers) == (15_352, 2250, 125)
    assert VOX1.resized(clips=10).speakers == 1
    assert VOX1.resized(10_000, 1_000, 50).videos == 1_000
    assert VOX1.resized() == VOX1


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"clips": 0}, "--clips must be at least 1 (got 0)"),
        ({"videos": -1}, "--videos must be at least 1 (got -1)"),
        ({"clips": 10, "videos": 11}, "got 10 clips, 11 videos"),
        ({"clips": 10, "videos": 3, "speakers": 4}, "got 10 clips, 3 videos, 4 speakers"),
    ],
)
def test_sizes_that_cannot_be(sizes: dict[str, int], said: str):
    with pytest.raises(ValueError, match="at least") as error:
        VOX1.resized(**sizes)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_what_is_read():
    vox2, avspeech = CORPORA["voxceleb2"], CORPORA["avspeech"]
    assert (VOX1.files_of_a_clip(10), VOX1.files_of_a_clip(None)) == (11, 61)
    assert (vox2.files_of_a_clip(10), avspeech.files_of_a_clip(10)) == (2, 1)
    assert (VOX1.sights(), vox2.sights(), avspeech.sights()) == (22_496, 1_128_246, 2_820_000)
    assert VOX1.bytes_to_read(10) == 153_516 * 264_000 + 224_960 * 15_000
    assert avspeech.bytes_to_read(10) == pytest.approx(1e12, rel=0.01)


def test_parts_of_the_speakers():
    splits = load_params().corpus.splits
    by = {
        name: parts(splits.model_copy(update={"by": name}), VOX1)
        for name in Splits.model_fields["by"].annotation.__args__
    }
    assert by["hash"] == pytest.approx({"train": 0.65, "val": 0.1, "test": 0.25})
    assert by["every_tenth"] == pytest.approx({"train": 0.8, "val": 0.1, "test": 0.1})
    assert by["vox1_names"]["train"] == pytest.approx(924 / 1225)
    assert by["official"] == pytest.approx({"train": 0.968 * 0.9, "val": 0.968 * 0.1, "test": 0.032})
    assert all(sum(found.values()) == pytest.approx(1) for found in by.values())


def test_corpora_are_chosen():
    assert [c.name for c in chosen([], None, None, None)] == list(CORPORA)
    assert [c.clips for c in chosen(["voxceleb2"], 1000, None, None)] == [1000]
    with pytest.raises(ValueError, match=r"the corpora are voxceleb1, voxceleb2, avspeech .got 'voxceleb3'"):
        chosen(["voxceleb3"], None, None, None)
    with pytest.raises(ValueError, match="of one corpus; name it"):
        chosen([], 1000, None, None)
