"""A limit to the time that one file may take."""

from pathlib import Path
from time import monotonic

from speech2face.pipeline.rejects import UnusableError


class Deadline:
    """A limit to the time spent on one file; time that passes between `pause` and `resume` does not count.

    `remedy` ends the message: what the user can do, or raise.
    """

    def __init__(self, path: Path, limit_s: float, remedy: str = "re-encode it or raise the limit") -> None:
        self.limit_s = limit_s
        self._path, self._remedy = path, remedy
        self._spent_s = 0.0
        self._resumed = monotonic()

    def check(self) -> None:
        """Raise UnusableError with reason `timeout` if the limit is passed."""
        if self._spent_s + monotonic() - self._resumed > self.limit_s:
            raise UnusableError(
                "timeout", f"{self._path}: decoding took longer than {self.limit_s:g} s; {self._remedy}"
            )

    def pause(self) -> None:
        """Stop counting."""
        self._spent_s += monotonic() - self._resumed

    def resume(self) -> None:
        """Count on."""
        self._resumed = monotonic()
