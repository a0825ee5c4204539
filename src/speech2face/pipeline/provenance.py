"""Which source files a piece of code depends on, and digests of code, files and settings."""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
PACKAGE_NAME = PACKAGE.name


def source_files(entry: Path) -> list[Path]:
    """`entry` and every module of this package that it imports, directly or not, sorted.

    Imports inside functions count; imports under `if TYPE_CHECKING:` and the packages' `__init__.py`, which hold no logic, do not.
    """
    found: set[Path] = set()
    waiting = [entry.resolve()]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting.extend(_imports(ast.parse(path.read_text("utf-8"), str(path))))
    return sorted(found)


def _imports(tree: ast.AST) -> Iterator[Path]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            first, *rest = name.split(".")
            path = PACKAGE.joinpath(*rest).with_suffix(".py") if rest else None
            if first == PACKAGE_NAME and path is not None and path.is_file():
                yield path
        yield from _imports(node)


def code_digest(entry: Path) -> str:
    """Digest of what `entry` and its modules do: comments, docstrings and layout do not change it."""
    digest = hashlib.sha256()
    for path in source_files(entry):
        tree = ast.parse(path.read_text("utf-8"), str(path))
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
                and ast.get_docstring(node, clean=False) is not None
            ):
                node.body = node.body[1:] or [ast.Pass()]
        digest.update(f"{path.name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def stable_fraction(text: str) -> float:
    """A number in [0, 1) that depends on `text` alone, evenly spread: the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def chunk(items: Iterable[str], size: int) -> list[list[str]]:
    """Sorted items cut into runs of about `size`, at most `2 * size`, where the cuts depend on the items near them only.

    An item added or taken away changes the run that it falls in and rarely a neighbour, so work that is stored by run survives growth.
    """
    runs: list[list[str]] = []
    for item in sorted(items):
        full = bool(runs) and len(runs[-1]) >= 2 * size
        cut = bool(runs) and 2 * len(runs[-1]) >= size and stable_fraction(f"cut {item}") * size < 2
        if not runs or full or cut:
            runs.append([])
        runs[-1].append(item)
    return runs
