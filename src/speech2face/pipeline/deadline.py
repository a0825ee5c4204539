"""A limit to the time that is spent on one file."""

from pathlib import Path
from time import monotonic

from speech2face.pipeline.rejects import UnusableError


class Deadline:
    """Stops a decoder that takes too long; time that passes between `pause` and `resume` does not count.

    `setting` is what is to be raised: the name of a parameter, or "the limit".
    """

    def __init__(self, path: Path, limit_s: float, setting: str = "the limit") -> None:
        self.limit_s = limit_s
        self._path = path
        self._setting = setting
        self._spent_s = 0.0
        self._resumed = monotonic()

    def check(self) -> None:
        """Raise UnusableError with reason `timeout` if the limit is passed."""
        if self._spent_s + monotonic() - self._resumed > self.limit_s:
            raise UnusableError(
                "timeout",
                f"{self._path}: decoding took longer than {self.limit_s:g} s; re-encode it or raise {self._setting}",
            )

    def pause(self) -> None:
        """Stop counting."""
        self._spent_s += monotonic() - self._resumed

    def resume(self) -> None:
        """Count on."""
        self._resumed = monotonic()
