from pathlib import Path

import pytest

from speech2face.pipeline import provenance


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a few modules that import each other in every way."""
    folder = tmp_path / "speech2face"
    (folder / "sub").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "a.py": "from speech2face import b\nimport os\n",
        "b.py": "def f():\n    import speech2face.sub.c\n",
        "sub/__init__.py": "",
        "sub/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from speech2face.d import D\n",
        "d.py": "D = 1\n",
        "e.py": "from speech2face.sub import c\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    return folder


def names(package: Path, entry: str) -> list[str]:
    return [path.relative_to(package).as_posix() for path in provenance.source_files(package / entry)]


def test_imports_are_followed_through_functions_and_not_through_type_checking(package: Path):
    assert names(package, "a.py") == ["a.py", "b.py", "sub/c.py"]
    assert names(package, "e.py") == ["e.py", "sub/c.py"]


def test_comments_and_docstrings_do_not_change_the_digest_but_code_does(package: Path):
    before = provenance.code_digest(package / "a.py")
    (package / "b.py").write_text(
        '"""About b."""\n\n\ndef f():\n    """Imports."""\n    # why\n    import speech2face.sub.c\n'
    )
    assert provenance.code_digest(package / "a.py") == before
    (package / "d.py").write_text("D = 2\n")
    assert provenance.code_digest(package / "a.py") == before
    (package / "sub/c.py").write_text("X = 1\n")
    assert provenance.code_digest(package / "a.py") != before


def test_the_digest_of_a_function_that_is_only_a_docstring(package: Path):
    (package / "d.py").write_text('class D:\n    """Nothing."""\n')
    assert provenance.code_digest(package / "d.py")


def test_json_digest_does_not_depend_on_the_order_of_keys():
    assert provenance.json_digest({"a": 1, "b": [2]}) == provenance.json_digest({"b": [2], "a": 1})
    assert provenance.json_digest({"a": 1}) != provenance.json_digest({"a": 2})
    with pytest.raises(ValueError):
        provenance.json_digest(float("nan"))


def test_stable_fractions_are_uniform():
    values = sorted(provenance.stable_fraction(f"id{i}") for i in range(4000))
    # Kolmogorov-Smirnov distance from the uniform distribution: below 1.95 / sqrt(n) with probability 0.999
    assert max(abs(v - (i + 0.5) / 4000) for i, v in enumerate(values)) < 1.95 / 4000**0.5


def test_chunks_are_a_partition_of_bounded_size():
    items = [f"clip{i:05d}" for i in range(3000)]
    runs = provenance.chunk(reversed(items), 32)
    assert [item for run in runs for item in run] == items
    assert max(map(len, runs)) <= 64
    assert 16 <= sum(map(len, runs[:-1])) / len(runs[:-1]) <= 48
    assert provenance.chunk([], 32) == []


def test_growth_changes_few_chunks():
    items = [f"clip{i:05d}" for i in range(3000)]
    before = {tuple(run) for run in provenance.chunk(items, 32)}
    for extra in ("clip01500x", "clip00000a", "clip99999"):
        after = {tuple(run) for run in provenance.chunk([*items, extra], 32)}
        assert len(after - before) <= 4, extra
