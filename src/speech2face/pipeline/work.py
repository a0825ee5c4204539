"""Where unfinished and reusable work lives, out of DVC's reach."""

import os
from pathlib import Path


def work_directory() -> Path:
    """`.work` of the repository, also in DVC's temporary copies of it, which queued experiments run in."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".work"
