"""Where decoded frames belong in a recording: by their time stamps, as exactly as counting samples from its start would say."""

import av

# Codecs whose frames are all of one length, so that coarse time stamps (milliseconds in Matroska) can be made exact.
EQUAL_FRAMES = ("aac", "mp3", "mp2", "opus", "libopus", "ac3", "eac3", "amr")
COARSE_S = 0.0015  # time stamps are rounded to a millisecond, the first as well
GAP_S = 0.015  # below the shortest usual packet, 20 ms; above the jitter of time stamps
RESTART_S = 1
LONGEST_GAP_S = 4 * 3600


class TimeStampError(ValueError):
    """Time stamps that cannot be followed."""


class Timeline:
    """Positions of a track's frames, in samples from the start of the file's clock.

    Samples follow each other without a gap, as long as the time stamps allow: `position` is that of the next one. Where time
    stamps leap ahead, something is missing; where they go back by more than a second (recordings joined end to end), the clock goes on
    from where it is.
    """

    def __init__(self, origin: float | None, codec: str) -> None:
        self.origin = origin
        """Time stamp of the clock's start, s; None until a frame is known."""
        self._equal = codec.startswith(EQUAL_FRAMES)
        self._first: tuple[float, int, int] | None = None  # time, position and length of the first frame
        self._frame_samples = 0  # of the frames after it
        self.position: int | None = None

    def begin(self, time: float | None) -> None:
        """The time stamp of the first packet, damaged or not: it starts the clock of files that do not say when theirs does."""
        if self.origin is None:
            self.origin = time

    def learn(self, frame: av.AudioFrame) -> bool:
        """Take in the first frames of a track, in their order; whether enough is known to place any other."""
        time = frame.time
        if time is None or not frame.samples:
            return False
        self.begin(time)
        if self._first is None:
            self._first = (time, self._of_first(time, frame), frame.samples)
        elif not self._frame_samples:
            self._frame_samples = frame.samples
        return self._frame_samples > 0

    @property
    def equal_frames(self) -> bool:
        """Whether all frames are of one length."""
        return self._equal

    def may_begin(self, frame: av.AudioFrame) -> bool:
        """Whether a pass may begin with this frame: in the middle of a recording, ffmpeg cuts some frames after a search short."""
        in_the_middle = self.position is None and self._frame_samples > 0
        return not (in_the_middle and self._equal and frame.samples != self._frame_samples) or self._is_first(frame)

    def _is_first(self, frame: av.AudioFrame) -> bool:
        return self._first is not None and frame.time == self._first[0]

    def gap_before(self, frame: av.AudioFrame, damaged: bool) -> int:
        """Samples that are missing before a frame; `damaged`: something was lost before it, so that no gap is too short.

        Raises TimeStampError for a gap of hours.
        """
        self.learn(frame)
        time = frame.time
        if time is None:
            self.position = self.position or 0
            return 0
        there = self._place(time, frame)
        if self.position is None:
            self.position = 0 if self._is_first(frame) else there
        gap = there - self.position
        if gap < -RESTART_S * frame.sample_rate:
            assert self.origin is not None
            self._shift(gap / frame.sample_rate)
            return 0
        if gap > LONGEST_GAP_S * frame.sample_rate:
            raise TimeStampError(f"time stamps leap from {self.position / frame.sample_rate:.0f} to {time:.0f} s")
        smallest = COARSE_S if damaged else GAP_S
        return gap if gap > smallest * frame.sample_rate else 0

    def _of_first(self, time: float, frame: av.AudioFrame) -> int:
        """Position of the first frame that could be decoded: 0, or later where the sound starts late or what came before is damaged."""
        assert self.origin is not None
        position = round((time - self.origin) * frame.sample_rate)
        if position <= GAP_S * frame.sample_rate:
            return 0
        on_grid = round(position / frame.samples) * frame.samples
        return on_grid if self._equal and abs(position - on_grid) <= COARSE_S * frame.sample_rate else position

    def _place(self, time: float, frame: av.AudioFrame) -> int:
        """By the clock; where frames are of one length, on the nearest whole number of them."""
        assert self.origin is not None and self._first is not None
        first_time, first_position, first_samples = self._first
        if time == first_time:
            return first_position
        rate_hz = frame.sample_rate
        by_clock = round((time - first_time) * rate_hz) + first_position
        if not self._equal or not self._frame_samples:
            return by_clock
        after_first = by_clock - first_position - first_samples
        on_grid = round(after_first / self._frame_samples) * self._frame_samples
        close = abs(after_first - on_grid) <= COARSE_S * rate_hz
        return first_position + first_samples + on_grid if close else by_clock

    def _shift(self, back_s: float) -> None:
        assert self.origin is not None and self._first is not None
        self.origin += back_s
        self._first = (self._first[0] + back_s, *self._first[1:])
