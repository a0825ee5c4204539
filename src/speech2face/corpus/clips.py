"""The clips of a corpus, however many: packed, a tenth of what they take as Python objects, and always in the order of their ids."""

import heapq
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter

CLIPS_PER_RUN, CLIPS_PER_BLOCK = 50_000, 500
"""What is sorted at once, and what is packed at once. Of each run one block is unpacked while the clips are walked through."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording and the pictures or the video that go with it; paths are relative to the corpus root, with forward slashes.

    Where `start_s` and `end_s` are set, the clip is that part of its files only. `face_xy` is the centre of the speaker's face as
    parts of the picture's width and height.
    """

    clip_id: str  # <speaker>/<video>/<utterance>
    speaker_id: str
    audio_path: str | None
    image_paths: tuple[str, ...] = ()
    video_path: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    face_xy: tuple[float, float] | None = None
    attributes: dict[str, str | float | None] = field(default_factory=dict)


_OTHERS = attrgetter(*(name for name in Clip.__slots__ if name != "image_paths"))


class Clips:
    """Clips that are added in any order and come back sorted by clip_id (merge sort, in runs that fit in memory).

    attributes: of each attribute the first clip that has a word for it (under True) and the first that has a number (False), by its
    clip_id and value; empty where nobody knows it.
    """

    def __init__(self, clips: Iterable[Clip] = ()) -> None:
        self.attributes: dict[str, dict[bool, tuple[str, str | float]]] = {}
        self._runs: list[list[bytes]] = []
        self._fresh: list[Clip] = []
        self._num_packed = 0
        for clip in clips:
            self.append(clip)

    def append(self, clip: Clip) -> None:
        self._fresh.append(clip)
        for name, value in clip.attributes.items():
            known = self.attributes.setdefault(name, {})
            if value is not None and (is_word := isinstance(value, str)) not in known:
                known[is_word] = clip.clip_id, value
        if len(self._fresh) == CLIPS_PER_RUN:
            self._fresh.sort(key=attrgetter("clip_id"))
            starts = range(0, CLIPS_PER_RUN, CLIPS_PER_BLOCK)
            self._runs.append([_packed(self._fresh[start : start + CLIPS_PER_BLOCK]) for start in starts])
            self._num_packed += CLIPS_PER_RUN
            self._fresh.clear()

    def __len__(self) -> int:
        return self._num_packed + len(self._fresh)

    def __iter__(self) -> Iterator[Clip]:
        order = attrgetter("clip_id")
        return heapq.merge(*map(_unpacked, self._runs), sorted(self._fresh, key=order), key=order)


def _packed(clips: list[Clip]) -> bytes:
    pictures: dict[tuple[str, ...], int] = {}  # of each video once
    values = []
    for clip in clips:
        number = pictures.setdefault(clip.image_paths, len(pictures))
        values.append((number, *_OTHERS(clip)))
    return zlib.compress(json.dumps((list(pictures), values)).encode(), 1)


def _unpacked(blocks: Iterable[bytes]) -> Iterator[Clip]:
    for block in blocks:
        pictures, values = json.loads(zlib.decompress(block))
        pictures = list(map(tuple, pictures))
        for number, clip_id, speaker_id, audio, video, start_s, end_s, face_xy, attributes in values:
            centre = None if face_xy is None else (face_xy[0], face_xy[1])
            yield Clip(clip_id, speaker_id, audio, pictures[number], video, start_s, end_s, centre, attributes)
