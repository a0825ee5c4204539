"""Standard output that takes every text."""

import sys
from io import TextIOWrapper


def escape_what_cannot_be_printed() -> None:
    """From now on, characters that standard output cannot encode are printed as escapes: halves of characters from file names that
    are not UTF-8, and names in a script that the locale does not have. Python does this on standard error by itself."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
