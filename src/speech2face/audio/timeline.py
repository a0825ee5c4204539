"""Where decoded frames belong in a recording: by their time stamps, as exactly as counting samples from its start would say."""

import math
from collections.abc import Sequence

import av

# Codecs whose frames lie on a grid, so that coarse time stamps (milliseconds in Matroska) can be made exact.
EQUAL_FRAMES = ("aac", "mp3", "mp2", "ac3", "eac3", "amr")
OPUS = ("opus", "libopus")
OPUS_STEPS_PER_S = 400  # its frames are of 2.5 ms or a multiple, and may change from packet to packet
COARSE_S = 0.0015  # time stamps are rounded to a millisecond, the first as well
GAP_S = 0.015  # below the shortest usual packet, 20 ms; above the jitter of time stamps
RESTART_S = 1
LONGEST_GAP_S = 4 * 3600


class TimeStampError(ValueError):
    """Time stamps that cannot be followed."""


class Timeline:
    """Positions of a track's frames, in samples from the start of the file's clock.

    Samples follow each other without a gap, as long as the time stamps allow: `position` is that of the next one. Where time
    stamps leap ahead, something is missing; where they go back, frames overlap; where they go back by more than a second (recordings
    joined end to end), the clock goes on from where it is. A leap that the frames after it do not share is a mistake in one time stamp.
    """

    def __init__(self, origin: float | None, codec: str) -> None:
        self.origin = origin
        """Time stamp of the clock's start, s; None until a frame is known."""
        self._on_grid = codec.startswith((*EQUAL_FRAMES, *OPUS))
        self._is_opus = codec.startswith(OPUS)
        self._first: tuple[float, int, int] | None = None  # time, position and length of the first frame
        self._frame_samples = 0  # of the second one
        self.position: int | None = None

    def begin(self, time: float | None) -> None:
        """The time stamp of the first packet, damaged or not: it starts the clock of files that do not say when theirs does."""
        if self.origin is None:
            self.origin = time

    def learn(self, frames: Sequence[av.AudioFrame]) -> None:
        """Take in the first frames of a track, in their order: all others are placed by them."""
        for frame in frames:
            time = frame.time
            if time is None:
                continue
            self.begin(time)
            if self._first is None:
                self._first = (time, self._of_first(time, frame), frame.samples)
            elif not self._frame_samples and not self._is_first(frame):
                self._frame_samples = frame.samples
        if self._first is None:
            return
        # Time does not go back: where all that follow are earlier than the first, its time stamp is wrong.
        time, position, num_samples = self._first
        back = min(0, self._agreed(frames[1:], position + num_samples, GAP_S * frames[0].sample_rate))
        if back:
            right = max(0, position + back)
            assert self.origin is not None
            self.origin += (back + position - right) / frames[0].sample_rate
            self._first = (time + back / frames[0].sample_rate, right, num_samples)

    @property
    def is_learned(self) -> bool:
        """Whether enough is known to place any frame."""
        return self._frame_samples > 0

    @property
    def frames_on_grid(self) -> bool:
        """Whether frames begin at multiples of a number of samples."""
        return self._on_grid

    def may_begin(self, frame: av.AudioFrame) -> bool:
        """Whether a pass may begin with this frame: in the middle of a recording, ffmpeg cuts some frames after a search short."""
        if not self._on_grid or not self._frame_samples or self._is_first(frame):
            return True
        return frame.samples % self._step(frame) == 0

    def gap_before(self, frames: Sequence[av.AudioFrame], damaged: bool, earliest_s: float) -> int:
        """Samples that are missing before the first of `frames`, or less than 0 if so many of its own come a second time.

        The other frames, which come after it, have to agree.
        `damaged`: something was lost before it, so that no gap is too short. Before any sound there is silence from `earliest_s` on.
        Raises TimeStampError for a gap of hours.
        """
        frame = frames[0]
        if not self._frame_samples:
            self.learn(frames)
        if frame.time is None:
            self.position = self.position or 0
            return 0
        rate_hz = frame.sample_rate
        if self.position is None:
            there = self._place(frame)
            there += min(0, self._agreed(frames[1:], there + frame.samples, GAP_S * rate_hz))
            self.position = min(there, math.floor(earliest_s * rate_hz))
            return self._checked(there - self.position, frame)
        smallest = (COARSE_S if damaged else GAP_S) * rate_hz
        gap = self._place(frame) - self.position
        if abs(gap) <= smallest:
            return 0
        if len(frames) > 1 or not damaged:
            gap = self._agreed(frames, self.position, smallest)
        if gap < -RESTART_S * rate_hz:
            self._shift(gap / rate_hz)
            return 0
        return self._checked(gap, frame)

    def _agreed(self, frames: Sequence[av.AudioFrame], position: int, smallest: float) -> int:
        """Samples by which all frames are away from where they would be if the first was at `position`: what the nearest says.

        0 if one of them is there, if they contradict each other, or if there is but one.
        """
        leaps = []
        for frame in frames:
            if frame.time is not None:
                leaps.append(self._place(frame) - position)
            position += frame.samples
        if len(leaps) > 1 and (min(leaps) > smallest or max(leaps) < -smallest):
            return min(leaps, key=abs)
        return 0

    def _checked(self, gap: int, frame: av.AudioFrame) -> int:
        if gap > LONGEST_GAP_S * frame.sample_rate:
            assert self.position is not None
            raise TimeStampError(f"time stamps leap from {self.position / frame.sample_rate:.0f} to {frame.time:.0f} s")
        return gap

    def _step(self, frame: av.AudioFrame) -> int:
        """Samples of the grid."""
        return max(1, frame.sample_rate // OPUS_STEPS_PER_S) if self._is_opus else self._frame_samples

    def _is_first(self, frame: av.AudioFrame) -> bool:
        return self._first is not None and frame.time == self._first[0]

    def _of_first(self, time: float, frame: av.AudioFrame) -> int:
        """Position of the first frame that could be decoded: 0, or later where the sound starts late or what came before is damaged."""
        assert self.origin is not None
        position = round((time - self.origin) * frame.sample_rate)
        if position <= GAP_S * frame.sample_rate:
            return 0
        on_grid = round(position / frame.samples) * frame.samples
        return on_grid if self._on_grid and abs(position - on_grid) <= COARSE_S * frame.sample_rate else position

    def _place(self, frame: av.AudioFrame) -> int:
        """By the clock; where frames are on a grid, at its nearest step."""
        assert self._first is not None and frame.time is not None
        first_time, first_position, first_samples = self._first
        if self._is_first(frame):
            return first_position
        rate_hz = frame.sample_rate
        by_clock = round((frame.time - first_time) * rate_hz) + first_position
        if not self._on_grid or not self._frame_samples:
            return by_clock
        step = self._step(frame)
        after_first = by_clock - first_position - first_samples
        on_grid = round(after_first / step) * step
        close = abs(after_first - on_grid) <= COARSE_S * rate_hz
        return first_position + first_samples + on_grid if close else by_clock

    def _shift(self, back_s: float) -> None:
        assert self.origin is not None and self._first is not None
        self.origin += back_s
        self._first = (self._first[0] + back_s, *self._first[1:])
