"""How large the published corpora are, and what their files look like."""

from dataclasses import dataclass, replace

from speech2face.pipeline.params import Splits


@dataclass(frozen=True)
class CorpusSize:
    """A corpus, or a part of it.

    clip_s: mean length of a clip, seconds; sound: the format of the recordings (`wav`, `m4a`, or `mp4` where they are read from the
    videos); pictures: whether faces come from pictures of each video, else from the clips' own videos; frame_px: width and height of a
    picture or frame; sound_bytes, face_bytes: of a clip's recording, and of its video or of one of its pictures (0 where the recording is
    the video). `official_test` is the part of the speakers that the authors' split tests.
    """

    name: str
    title: str
    speakers: int
    videos: int
    clips: int
    clip_s: float
    sound: str
    pictures: bool
    frame_px: tuple[int, int]
    sound_bytes: int
    face_bytes: int
    official_test: float

    def resized(self, clips: int | None = None, videos: int | None = None, speakers: int | None = None) -> "CorpusSize":
        """A part of the corpus, or more of the same. What is not given is scaled by the clips.

        Raises ValueError for a number below 1, and where there are fewer clips than videos or fewer videos than speakers.
        """
        for name, value in (("clips", clips), ("videos", videos), ("speakers", speakers)):
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1 (got {value})")
        scale = 1.0 if clips is None else clips / self.clips
        clips = self.clips if clips is None else clips
        videos = min(clips, max(1, round(scale * self.videos))) if videos is None else videos
        speakers = min(videos, max(1, round(scale * self.speakers))) if speakers is None else speakers
        if not speakers <= videos <= clips:
            raise ValueError(
                f"a speaker has a video and a video a clip at least (got {clips} clips, {videos} videos, {speakers} speakers); "
                "give --clips, --videos and --speakers that fit"
            )
        return replace(self, clips=clips, videos=videos, speakers=speakers)

    def sights(self) -> int:
        """What faces are looked for in, as rows: the pictures of a video together, or the video of a clip."""
        return self.videos if self.pictures else self.clips

    def files_of_a_clip(self, pictures_per_video: int | None) -> int:
        """Files that a clip's row names."""
        return 1 + pictures_of(pictures_per_video) if self.pictures else 1 if self.sound == "mp4" else 2

    def bytes_to_read(self, pictures_per_video: int | None) -> int:
        """Bytes of those files."""
        faces = self.videos * pictures_of(pictures_per_video) if self.pictures else self.clips
        return self.clips * self.sound_bytes + faces * self.face_bytes


ALL_PICTURES = 60
"""VoxCeleb1 has about so many of a video."""


def pictures_of(pictures_per_video: int | None) -> int:
    """`corpus.pictures_per_video` as a number."""
    return ALL_PICTURES if pictures_per_video is None else pictures_per_video


# VoxCeleb1 and 2: counts of their papers and file lists; 352 and 2,442 hours. Bytes: wav of 16 kHz and 16 bits; pictures as those of
# benchmarks/planning.py; 70 GB of m4a and 260 GB of mp4, as the archives are. Test speakers: 40 of 1,251, 118 of 6,112.
# AVSpeech: 290,000 videos and 4,700 hours are its authors' numbers, clips of 3 to 10 s. How many clips follows from a mean of 6 s; a TB is
# of docs/data.md; a fourteenth of its list is the test list. Its pictures are at most 720 lines high.
CORPORA = {
    corpus.name: corpus
    for corpus in (
        CorpusSize(
            "voxceleb1", "VoxCeleb1", 1_251, 22_496, 153_516, 8.25, "wav", True, (224, 224), 264_000, 15_000, 0.032
        ),
        CorpusSize(
            "voxceleb2", "VoxCeleb2", 6_112, 150_480, 1_128_246, 7.79, "m4a", False, (224, 224), 62_000, 230_000, 0.019
        ),
        CorpusSize(
            "avspeech", "AVSpeech", 290_000, 290_000, 2_820_000, 6.0, "mp4", False, (1280, 720), 355_000, 0, 0.07
        ),
    )
}

VOX1_NAMES = (112 / 1225, 189 / 1225)
"""Parts of VoxCeleb1's speakers that validate and test by the first letters of their names (Wen et al. 2019)."""
EVERY_TENTH = (0.1, 0.1)
OWN_COLUMN = (0.1, 0.25)
"""Taken for a list of one's own, of which nothing is known before it is read."""


def parts(splits: Splits, corpus: CorpusSize) -> dict[str, float]:
    """Parts of a corpus's speakers that train, validate and test."""
    if splits.by == "official":
        test = corpus.official_test
        val = splits.val * (1 - test)
    elif splits.by == "hash":
        val, test = splits.val, splits.test
    else:
        val, test = {"vox1_names": VOX1_NAMES, "every_tenth": EVERY_TENTH, "column": OWN_COLUMN}[splits.by]
    return {"train": 1 - val - test, "val": val, "test": test}


def chosen(names: list[str], clips: int | None, videos: int | None, speakers: int | None) -> list[CorpusSize]:
    """The corpora of these names, all if there are none, of the sizes that were asked for.

    Raises ValueError for an unknown name, for sizes of more than one corpus, and as `resized`.
    """
    if unknown := [name for name in names if name not in CORPORA]:
        raise ValueError(f"the corpora are {', '.join(CORPORA)} (got {unknown[0]!r})")
    asked = clips is not None or videos is not None or speakers is not None
    if asked and len(names) != 1:
        raise ValueError("--clips, --videos and --speakers are of one corpus; name it, for example voxceleb1")
    return [CORPORA[name].resized(clips, videos, speakers) for name in dict.fromkeys(names or CORPORA)]
