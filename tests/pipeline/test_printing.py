"""Standard output that takes every text."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize(
    ("encoding", "printed"), [("utf-8:strict", b"\xc3\xa9 \\udce9"), ("ascii:strict", b"\\xe9 \\udce9")]
)
def test_what_cannot_be_encoded_is_escaped(encoding: str, printed: bytes):
    program = (
        "from speech2face.pipeline.printing import escape_what_cannot_be_printed as escape; escape(); "
        "print('\\u00e9 \\udce9')"
    )
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, printed), done.stderr
