"""Say what each stage is made from: the code that it reaches, and the versions of the libraries that this uses.

The other stages depend on these files and not on modules. A comment, or what a stage does not reach, changes nothing in its file.
"""

from pathlib import Path

from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.code import CODE, reached_by_stages
from speech2face.pipeline.params import Params
from speech2face.pipeline.stage import run_stage

STAGES = Path("stages")


def main(params: Params) -> str:
    codes = reached_by_stages(STAGES)
    del codes["code"]  # nothing is made from this one
    for name, code in codes.items():
        write_json(CODE / f"{name}.json", code.as_dict())
    return f"code: {len(codes)} stages, {len({m for code in codes.values() for m in code.modules})} modules"


if __name__ == "__main__":
    run_stage(main, __doc__)
