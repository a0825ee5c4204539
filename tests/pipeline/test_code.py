"""What is reached, on small packages whose every dependency is known."""

import functools
import json
from pathlib import Path

import pytest
import torch

from speech2face.pipeline import code
from speech2face.pipeline.code import Code, Sources, reached, reached_by_stages
from tests.pipeline import slow_stage

FILES = {
    "__init__.py": "",
    "numbers.py": """import numpy as np

FACTOR = 2
UNUSED = 5


def double(x):
    return np.abs(x) * FACTOR


def other(x):
    import PIL

    return PIL, x
""",
    "tools.py": """from speech2face.numbers import double as twice

REGISTRY = {}


def register(f):
    REGISTRY[f.__name__] = f
    return f


@register
def halve(x):
    return x / 2


def apply(x):
    return twice(x)
""",
    "shapes.py": """from speech2face import tools
from speech2face.errors import Refused


class Base:
    def area(self):
        return tools.apply(1)


class Square(Base):
    side: int = 1

    def check(self):
        if self.side < 0:
            raise Refused('negative', f'a side of {self.side} is negative; give a positive one')
""",
    "errors.py": """class Refused(ValueError):
    def __init__(self, reason, text):
        super().__init__(text)
        self.reason = reason
""",
    "unreached.py": """from speech2face import shapes

X = 1 + 1
""",
}
STAGE = """from speech2face.shapes import Square


def main(params):
    return Square().area()


if __name__ == '__main__':
    main(1 + 1)
"""


class Tree:
    """A package `speech2face` and one stage script."""

    def __init__(self, root: Path) -> None:
        self.package, self.stages = root / "speech2face", root / "stages"
        self.stages.mkdir(parents=True)
        self.package.mkdir()
        for name, text in FILES.items():
            (self.package / name).write_text(text)
        (self.stages / "draw.py").write_text(STAGE)

    def code(self) -> Code:
        return reached_by_stages(self.stages, self.package)["draw"]

    def edit(self, name: str, old: str, new: str) -> Code:
        path = self.stages / name if name == "draw.py" else self.package / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return self.code()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("numbers.py", "* FACTOR", "+ FACTOR"),
        ("numbers.py", "FACTOR = 2", "FACTOR = 3"),
        ("tools.py", "return twice(x)", "return twice(x + 1)"),
        ("tools.py", "as twice", "as thrice\nfrom speech2face.numbers import other as twice"),
        ("shapes.py", "class Square(Base)", "class Square"),
        ("shapes.py", "self.side < 0", "self.side <= 0"),
        ("shapes.py", "'negative'", "'too_small'"),  # the reason is a result, its text is not
        ("shapes.py", "side: int = 1", "side: int = 2"),
        ("errors.py", "self.reason = reason", "self.reason = reason + reason"),
        ("draw.py", "area()", "area() + 1"),
        # The same words, but from elsewhere.
        ("numbers.py", "import numpy as np", "import scipy as np"),
        ("numbers.py", "import numpy as np", "from numpy import linalg as np"),
        ("tools.py", "import double as twice", "import other as twice"),
        ("draw.py", "import Square", "import Base as Square"),
    ],
)
def test_what_a_result_depends_on_counts(tree: Tree, name: str, old: str, new: str):
    before = tree.code()
    assert tree.edit(name, old, new).digest() != before.digest()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("numbers.py", "def double(x):", "# why\ndef double(x: 'int') -> float:\n    '''Twice.'''\n"),
        ("numbers.py", "FACTOR = 2", "FACTOR: int = (\n    2  # two\n)\n'''The factor.'''"),
        ("numbers.py", "UNUSED = 5", "UNUSED = 6"),
        ("numbers.py", "return PIL, x", "return x"),
        ("shapes.py", "side: int = 1", "side: float = 1"),
        ("shapes.py", "f'a side of {self.side} is negative; give a positive one'", "f'no {self.side}'"),
        ("unreached.py", "1 + 1", "1 - 1"),
        ("draw.py", "main(1 + 1)", "main(2)"),
        ("draw.py", "def main(params)", "def main(params: 'Params') -> str"),
    ],
)
def test_what_no_result_depends_on_does_not(tree: Tree, name: str, old: str, new: str):
    before = tree.code()
    after = tree.edit(name, old, new)
    assert after == before


def test_what_runs_on_import_counts_though_nobody_names_it(tree: Tree):
    before = tree.code()
    (tree.package / "patch.py").write_text("import torch\n\ntorch.set_num_threads(1)\n")
    imported = tree.edit("errors.py", "class Refused", "import speech2face.patch\n\n\nclass Refused")
    assert "speech2face.patch" in imported.modules and "torch" in imported.libraries
    assert (
        tree.edit("patch.py", "set_num_threads(1)", "set_num_threads(2)").digest()
        != imported.digest()
        != before.digest()
    )


def test_a_decorated_function_is_read_with_its_decorator(tree: Tree):
    tree.edit("shapes.py", "tools.apply(1)", "tools.halve(1)")
    before = tree.code()
    assert tree.edit("tools.py", "x / 2", "x / 3").digest() != before.digest()
    assert tree.edit("tools.py", "return f\n", "return print\n").digest() != before.digest()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (
            "@tools.register\ndef unnamed(x):\n    return x + 1\n",
            "@tools.register\ndef unnamed(x):\n    return x + 2\n",
        ),
        ("_ = np.seterr(all='ignore')\n", "_ = np.seterr(all='raise')\n"),
        ("np.LEVEL = 1\n", "np.LEVEL = 2\n"),
        ("if TYPE_CHECKING:\n    L = 0\nelse:\n    L = 1\n", "if TYPE_CHECKING:\n    L = 0\nelse:\n    L = 2\n"),
        ("if not TYPE_CHECKING:\n    L = 1\n", "if not TYPE_CHECKING:\n    L = 2\n"),
    ],
    ids=["own decorator", "call for its effect", "attribute", "else of a condition for type checkers", "its contrary"],
)
def test_what_runs_on_import_counts_under_whatever_name(tree: Tree, first: str, then: str):
    head = "import numpy as np\nfrom typing import TYPE_CHECKING\nfrom speech2face import tools\n"
    before = tree.edit("errors.py", "class Refused", f"{head}{first}\n\nclass Refused")
    assert tree.edit("errors.py", first, then).digest() != before.digest()


def test_a_name_that_one_method_imports_may_stand_for_something_else_in_another(tree: Tree):
    local = "from speech2face.tools import apply as twice\n        return twice(1)\n\n    def other(self):\n        return twice(2)"
    head = "from speech2face.numbers import double as twice\n\n\nclass Base"
    tree.edit("shapes.py", "return tools.apply(1)", local)
    before = tree.edit("shapes.py", "class Base", head)
    assert tree.edit("tools.py", "return twice(x)", "return twice(x) + 1").digest() != before.digest()
    assert (
        tree.edit("numbers.py", "* FACTOR", "+ FACTOR").digest()
        != tree.edit("numbers.py", "+ FACTOR", "- FACTOR").digest()
    )


def test_a_name_that_is_only_annotated_is_no_error(tree: Tree):
    tree.edit("numbers.py", "FACTOR = 2", "FACTOR: int\nFACTOR = 2")


def test_libraries_are_those_that_what_is_reached_uses(tree: Tree):
    assert list(tree.code().libraries) == ["numpy"]
    assert list(tree.edit("tools.py", "return twice(x)", "return other(twice(x))").libraries) == ["numpy"]
    used = tree.edit("tools.py", "import double as twice", "import other, double as twice")
    assert list(used.libraries) == ["numpy", "pillow"]


@pytest.mark.parametrize(
    "text",
    ["eval('1')", "__import__('os')", "globals()['x']", "importlib.import_module('json')", "Base.__subclasses__()"],
)
def test_code_that_is_named_only_when_it_runs_is_refused(tree: Tree, text: str):
    with pytest.raises(ValueError, match=r"numbers.py.*only known when it runs"):
        tree.edit("numbers.py", "return np.abs(x) * FACTOR", f"import importlib\n    return {text}")


def test_star_imports_are_refused(tree: Tree):
    with pytest.raises(ValueError, match=r"import \* hides"):
        tree.edit("tools.py", "import double as twice", "import *")


def test_a_module_that_is_passed_around_counts_whole(tree: Tree):
    before = tree.edit("shapes.py", "tools.apply(1)", "vars(tools)['apply'](1)")
    assert tree.edit("tools.py", "x / 2", "x / 3").digest() != before.digest()


@pytest.mark.parametrize("function", [torch.relu, len, json.dumps, functools.partial(slow_stage.square), lambda: 0])
def test_functions_that_cannot_be_read_are_refused(function):
    with pytest.raises(ValueError, match="cannot be read from this project's source"):
        reached(function)


def test_a_wrapped_function_is_found_where_it_stands():
    wrapped = torch.inference_mode()(slow_stage.square)
    assert reached(wrapped) == reached(slow_stage.square)
    assert "tests.pipeline.slow_stage" in reached(wrapped).modules


def test_versions_are_those_installed_without_the_kind_of_build(monkeypatch: pytest.MonkeyPatch):
    assert code.installed_version("numpy") == __import__("numpy").__version__
    monkeypatch.setattr(code, "version", lambda name: "2.14.1+cpu")
    assert code.installed_version("torch") == "2.14.1"
    assert code.installed_version("no-such-library-as-this") == "2.14.1"


def test_other_versions_than_those_recorded_stop_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    code.check_libraries("toy")  # nothing is recorded
    (tmp_path / "results" / "code").mkdir(parents=True)
    found = reached(slow_stage.square).as_dict()
    path = tmp_path / "results" / "code" / "toy.json"
    path.write_text(json.dumps(found))
    code.check_libraries("toy")
    path.write_text(json.dumps(found | {"libraries": found["libraries"] | {"numpy": "1.0"}}))
    with pytest.raises(
        ValueError, match=r"numpy \S+ is installed and results/code/toy.json says 1.0; run: dvc repro --force"
    ):
        code.check_libraries("toy")


@pytest.mark.slow
def test_every_library_of_the_stages_is_installed_under_the_name_that_is_looked_up():
    root = Path(code.__file__).parents[3]
    for name, found in reached_by_stages(root / "stages").items():
        assert "not installed" not in found.libraries.values(), (name, found.libraries)


def test_a_name_that_a_module_lacks_is_an_error_and_not_passed_over(tree: Tree):
    with pytest.raises(ValueError, match="has no missing"):
        tree.edit("shapes.py", "tools.apply(1)", "tools.missing(1)")


def test_sources_find_packages_and_modules(tree: Tree):
    sources = Sources(tree.package)
    assert sources.module("speech2face.numbers").path == tree.package / "numbers.py"
    assert sources.module("speech2face").path.name == "__init__.py"
    assert sources.module("numpy") is None
