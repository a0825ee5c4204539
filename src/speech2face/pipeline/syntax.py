"""A module's source as text: its top-level statements without what changes no result, the same in every version of Python.

Not seen: what runs on import inside a statement that only binds a name which nobody uses (`level = set_level(3)`); bind it to `_`, or
call it alone. A decorator of this project is seen, whoever names what it decorates.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

TEXT_CALLS = ("print", "exit", "Reject")
"""Calls whose arguments are read by people, but for names such as a reject's reason."""


@dataclass(frozen=True)
class Statement:
    """A top-level statement without what changes no result.

    text: its syntax; references: names that it uses, each with the attributes that it takes of it; imports: what names stand for that it
    imports itself; packages: those of which it looks up the files; places: what strings of the form `module:name` stand for.
    """

    text: str
    references: list[tuple[str, ...]]
    imports: dict[str, tuple[str, str | None]]
    packages: list[str]
    places: list[tuple[str, str]]


class Module:
    """One source file: which of its top-level statements bind a name, which run on import, and what it imports."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.bindings: dict[str, list[int]] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}
        self.effects: list[int] = []
        self._statements: dict[int, Statement] = {}
        for position, statement in enumerate(self._body):
            self._sort(position, statement)

    @cached_property
    def _body(self) -> list[ast.stmt]:
        return ast.parse(self.path.read_text("utf-8"), str(self.path)).body

    def statement(self, position: int) -> "Statement":
        """A top-level statement by its position."""
        if position not in self._statements:
            tree = _Strip().visit(self._body[position]) or ast.Pass()  # a name that is only annotated binds nothing
            nodes = list(ast.walk(tree))
            imports = dict(imported_names(nodes, self.package))
            by_string = list(packages_by_name(nodes)), list(places_by_name(nodes))
            used = list(dict.fromkeys(map(tuple, references(tree))))
            self._statements[position] = Statement(_canonical(tree), used, imports, *by_string)
        return self._statements[position]

    def text_with_imports(self, position: int) -> str:
        """The text of a statement, with what the names that it uses were imported from."""
        statement = self.statement(position)
        used = sorted({name for name, *_ in statement.references} & self.imports.keys())
        origins = [
            f"{name} is {module}" + (f":{attribute}" if attribute else "")
            for name in used
            for module, attribute in [self.imports[name]]
        ]
        return "\n".join([statement.text, *origins])

    def _sort(self, position: int, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self.imports |= dict(imported_names([statement], self.package))
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.bindings.setdefault(statement.name, []).append(position)
            if any(self._is_ours(name) for decorator in statement.decorator_list for name, *_ in references(decorator)):
                self.effects.append(position)  # it may put what it decorates somewhere, under whatever name
        elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
            for name in names:
                self.bindings.setdefault(name, []).append(position)
            if "_" in names or not all(isinstance(target, ast.Name | ast.Tuple) for target in targets):
                self.effects.append(
                    position
                )  # an attribute or an item of something is set, or a call is made for what it does
        elif not _is_skipped(statement):
            # A condition, a loop or a call: it runs on import, and may bind names on the way.
            self.effects.append(position)
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    self.bindings.setdefault(node.id, []).append(position)
                elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                    self.bindings.setdefault(node.name, []).append(position)
            self.imports |= dict(imported_names(ast.walk(statement), self.package))

    def _is_ours(self, name: str) -> bool:
        """Whether a name at the top level is of this project."""
        target = self.imports.get(name, ("", None))[0]
        return name in self.bindings or target.partition(".")[0] == self.name.partition(".")[0]


class _Strip(ast.NodeTransformer):
    """Takes out docstrings and other bare strings, annotations, and the texts that people read."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._filled(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self._filled(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        # What is annotated in a class may be a field of a data class: there it counts that it is, though not as what.
        for place, statement in enumerate(node.body):
            if isinstance(statement, ast.AnnAssign):
                field = ast.Call(ast.Name("field"), [statement.value] if statement.value else [], [])
                node.body[place] = ast.Assign([statement.target], field)
        return self._filled(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if _is_skipped(node):
            return None
        if _is_for_others(node):
            node.body = [ast.Pass()]
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return self.generic_visit(_Untexted().visit(node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self.generic_visit(_Untexted().visit(node) if _called(node) in TEXT_CALLS else node)

    def _filled(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node


class _Untexted(ast.NodeTransformer):
    """Empties strings that are sentences; names such as the reason of a reject stay."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) and not node.value.isidentifier() else node


def _called(node: ast.Call) -> str | None:
    """The name of what is called, without what it is an attribute of."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)


def references(tree: ast.AST) -> Iterator[list[str]]:
    """Names that are used, each with the attributes that are taken of it: `a.b(c)` gives [a, b] and [c]."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        chain: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield [inner.id, *reversed(chain)]
            continue
        if isinstance(inner, ast.Global):
            yield from ([name] for name in inner.names)
        waiting.extend(ast.iter_child_nodes(inner))


def packages_by_name(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Packages of which `find_spec("name")` finds the files."""
    for node in nodes:
        if isinstance(node, ast.Call) and _called(node) == "find_spec":
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def places_by_name(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """Modules and names in strings such as "package.module:function", by which another process is told what to run."""
    for node in nodes:
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"\w+(\.\w+)+:\w+", node.value)
        ):
            module, _, name = node.value.partition(":")
            yield module, name


def imported_names(nodes: Iterable[ast.AST], package: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Names that imports bind, with the module and, for `from`, the name in it."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                yield alias.asname or top, (alias.name if alias.asname else top, None)
                yield alias.name, (alias.name, None)  # no name, but a module that runs
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                if alias.name == "*":
                    raise ValueError(f"from {module} import * hides what is used; import names")
                yield alias.asname or alias.name, (module, alias.name)


def _canonical(node: Any) -> str:
    """A syntax tree as text, without empty fields, which versions of Python write in different ways."""
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__} {node.value!a}"
    if isinstance(node, ast.JoinedStr):  # Python 3.12 ends some of them with an empty string
        node = ast.JoinedStr([part for part in node.values if getattr(part, "value", None) != ""])
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields if name not in ("ctx", "type_comment"))
        return (
            f"{type(node).__name__}({','.join(f'{n}={_canonical(v)}' for n, v in fields if v is not None and v != [])})"
        )
    return ascii(node)


def _is_skipped(statement: ast.stmt) -> bool:
    """Whether a statement does nothing when its module is imported: a string, or what is for type checkers or scripts."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if not isinstance(statement, ast.If):
        return isinstance(statement, ast.Pass)
    return _is_for_others(statement) and not statement.orelse


def _is_for_others(statement: ast.If) -> bool:
    """Whether what stands under the condition is for type checkers or scripts."""
    match statement.test:
        case ast.Name("TYPE_CHECKING") | ast.Attribute(ast.Name("typing"), "TYPE_CHECKING"):
            return True
        case ast.Compare(ast.Name("__name__"), [ast.Eq()], [ast.Constant("__main__")]):
            return True
    return False
