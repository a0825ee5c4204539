"""What every stage script shares: its help, its parameters, and how it ends."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from speech2face.pipeline.code import check_libraries
from speech2face.pipeline.params import Params, load_params
from speech2face.pipeline.printing import escape_what_cannot_be_printed


def run_stage(main: Callable[[Params], str], description: str | None) -> None:
    """Run a stage script: `main` takes the parameters and returns the closing line.

    What a user can fix (ValueError, OSError, RuntimeError of the engine) ends in one clear message and exit status 1;
    SIGTERM in exit status 143 and an interrupt from the keyboard in 130, with nothing half-written.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="parameter file (default: %(default)s)"
    )
    arguments = parser.parse_args()
    escape_what_cannot_be_printed()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    try:
        check_libraries(Path(parser.prog).stem)
        print(main(load_params(arguments.params)), flush=True)
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("S2F_DEBUG"):
            raise
        sys.exit(f"{parser.prog}: error: {error}")


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
