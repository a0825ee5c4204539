"""What counts as a change of the code: the definitions that a function reaches, and the libraries that those use.

The source is read, not run. From a function, everything is followed that it can reach: functions, classes and constants of this
project by name, whichever module they stand in, and statements that run when those modules are imported. A definition counts by its
syntax, and by what the names that it uses were imported as. Comments, docstrings, annotations, layout and the texts of errors, rejects
and prints do not count: they change no result. Of other packages, which are not followed, the version counts, but for those that
only share out the work.
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from speech2face.pipeline.syntax import Module

PACKAGE = Path(__file__).parents[1]
DISTRIBUTIONS = {"PIL": "pillow", "dlib": "dlib-bin", "sklearn": "scikit-learn", "ruamel": "ruamel.yaml"}
"""Names of packages in the index where they are not those of the modules."""
ENGINES = ("ray",)
"""Libraries that say where a result is computed and nothing about what it is."""
UNREADABLE = ("eval", "exec", "globals", "__import__", "import_module", "__subclasses__")
"""What reaches code by a name that is only known when it runs."""
OF_ANYTHING = ("import_module", "__subclasses__")
"""Those of them that are attributes, of whatever object."""


CODE = Path("results/code")
"""Where the stage `code` writes what each stage is made from, as `<stage>.json`."""


@dataclass(frozen=True)
class Code:
    """What is reached: the digest of the reached definitions of each module, and the version of each library that they use."""

    modules: dict[str, str]
    libraries: dict[str, str]

    def as_dict(self) -> dict[str, dict[str, str]]:
        """For JSON, in the order of the names."""
        return {"modules": self.modules, "libraries": self.libraries}

    def digest(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(self.as_dict()).encode()).hexdigest()


def reached(*functions: Callable[..., Any]) -> Code:
    """The code that this project's functions reach, decorated or not.

    Raises ValueError for one that is not a function at the top level of a module of this project, and where code is reached by a name
    that is only known when it runs.
    """
    sources = Sources(PACKAGE)
    return sources.reached([sources.place(function) for function in functions])


def reached_by_stages(stages: Path, package: Path = PACKAGE) -> dict[str, Code]:
    """The code that `main` of each script in the folder `stages` reaches, in the package whose folder is `package`, by the script's
    name. Raises as `reached`."""
    scripts = {f"stages.{script.stem}": script for script in sorted(stages.glob("*.py"))}
    sources = Sources(package, scripts)
    return {module.removeprefix("stages."): sources.reached([(module, "main")]) for module in scripts}


def check_libraries(stage: str) -> None:
    """Raise ValueError where other versions of a stage's libraries are installed than `results/code/<stage>.json` says, which DVC records
    as what the stage's results are made from. DVC does not see that a library has been installed; a stage that runs does."""
    path = CODE / f"{stage}.json"
    if not path.is_file():  # not started by DVC
        return
    for library, recorded in json.loads(path.read_text("utf-8"))["libraries"].items():
        if (installed := installed_version(library)) != recorded:
            raise ValueError(
                f"{library} {installed} is installed and {path} says {recorded}; run: dvc repro --force --single-item code, then dvc repro"
            )


class Sources:
    """The modules of this project, read as they are reached: those below `package`, and `files` by the names of their modules."""

    def __init__(self, package: Path, files: dict[str, Path] | None = None) -> None:
        self._roots = {package.name: package.parent}
        self._files = dict(files or {})
        self._modules: dict[str, Module | None] = {}

    def place(self, function: Callable[..., Any]) -> tuple[str, str]:
        """Module and name of a function, which are those of what a decorator has wrapped."""
        module, name = str(getattr(function, "__module__", None)), getattr(function, "__qualname__", "<object>")
        loaded = sys.modules.get(module)
        if module == "__main__" and getattr(loaded, "__spec__", None) is not None:
            module = loaded.__spec__.name  # type: ignore[union-attr]  # run by `python -m`
        if module.split(".")[0] not in self._roots and _is_of_nobody(loaded):
            path = Path(inspect.getfile(loaded)).resolve()  # type: ignore[arg-type]
            self._roots[module.split(".")[0]] = path.parents[module.count(".")]
            self._files[module] = path
        found = self.module(module)
        if found is None or name not in found.bindings:
            raise ValueError(
                f"what {function!r} does cannot be read from this project's source (it is {module}.{name}); give a function that stands "
                "at the top level of one of its modules"
            )
        return found.name, name

    def module(self, name: str) -> Module | None:
        """A module of this project; None if there is none of the name."""
        if name not in self._modules:
            path = self._files.get(name) or self._find(name)
            self._modules[name] = Module(name, path) if path is not None else None
        return self._modules[name]

    def _find(self, name: str) -> Path | None:
        parts = name.split(".")
        if parts[0] not in self._roots:
            return None
        base = self._roots[parts[0]].joinpath(*parts)
        return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)

    def reached(self, places: Iterable[tuple[str, str]]) -> Code:
        """What the definitions at `places` (module and name) reach."""
        closure = self.follow(places)
        digests = {module: closure.digest(module) for module in sorted(closure.statements)}
        return Code(digests, {library: installed_version(library) for library in sorted(closure.libraries)})

    def follow(self, places: Iterable[tuple[str, str]]) -> "Closure":
        """Which definitions and libraries the definitions at `places` reach."""
        closure = Closure(self)
        for module, name in places:
            closure.reach(module, name)
        return closure


@dataclass
class Closure:
    """The definitions and libraries that have been reached so far."""

    sources: Sources
    statements: dict[str, set[int]] = field(default_factory=dict)
    """Positions of the reached statements of each module."""
    libraries: set[str] = field(default_factory=set)
    _imported: set[str] = field(default_factory=set)

    def names(self, module: str) -> set[str]:
        """The names that the reached definitions of a module bind."""
        found, reached = self.sources.module(module), self.statements.get(module, set())
        return {name for name, at in found.bindings.items() if reached.intersection(at)} if found else set()

    def digest(self, module: str) -> str:
        """SHA-256 of the reached definitions of a module."""
        found = self.sources.module(module)
        assert found is not None
        texts = [found.text_with_imports(position) for position in sorted(self.statements[module])]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()

    def reach(self, module_name: str, name: str) -> None:
        """Follow the definitions of `name`, which may have been imported into the module from elsewhere."""
        module = self._import(module_name)
        if module is None:
            self._use(module_name)
        elif name in module.bindings:
            for position in module.bindings[name]:
                self._follow(module, position)
        elif name in module.imports:
            self._resolve(module.imports[name], [])
        elif self.sources.module(f"{module_name}.{name}") is not None:
            self._whole(f"{module_name}.{name}")

    def _import(self, name: str) -> Module | None:
        """Follow what runs when a module is imported."""
        module = self.sources.module(name)
        if module is None or name in self._imported:
            return module
        self._imported.add(name)
        if "." in name:
            self._import(name.rpartition(".")[0])
        for position in module.effects:
            self._follow(module, position)
        self._import_all(module.imports)
        return module

    def _import_all(self, imports: dict[str, tuple[str, str | None]]) -> None:
        for target, attribute in imports.values():
            self._import(target)
            if attribute is not None:
                self._import(f"{target}.{attribute}")

    def _follow(self, module: Module, position: int) -> None:
        known = self.statements.setdefault(module.name, set())
        if position in known:
            return
        known.add(position)
        statement = module.statement(position)
        self._import_all(statement.imports)
        for package in (*statement.packages, *(target for target, _ in statement.imports.values())):
            if self.sources.module(package) is None:
                self._use(package)
        for place, name in statement.places:
            if self.sources.module(place) is not None:
                self.reach(place, name)
        for name, *attributes in statement.references:
            if name in UNREADABLE or not set(attributes).isdisjoint(OF_ANYTHING):
                raise ValueError(
                    f"{module.path}: what {name} reaches is only known when it runs, so changes of it would go unnoticed; name it instead"
                )
            # A name may be imported in one method and stand for something else in another: all that it may stand for counts.
            for imports in (statement.imports, module.imports):
                if name in imports:
                    self._resolve(imports[name], attributes)
            if name in module.bindings:
                self.reach(module.name, name)

    def _resolve(self, imported: tuple[str, str | None], attributes: list[str]) -> None:
        """Follow what an imported name stands for, with the attributes that are taken of it."""
        module_name, name = imported
        while name is not None or attributes:
            module = self.sources.module(module_name)
            if module is None:
                self._use(module_name)
                return
            if name is None:
                name, *attributes = attributes
            if name in module.bindings or name in module.imports:
                self.reach(module_name, name)
                return
            if name.startswith("__"):  # of the module itself, such as __file__
                return
            if self.sources.module(f"{module_name}.{name}") is None:
                raise ValueError(f"{module.path} has no {name}, which another module takes from it")
            module_name, name = f"{module_name}.{name}", None
        self._whole(module_name)

    def _whole(self, name: str) -> None:
        """A module that is passed around as a value: everything in it."""
        module = self._import(name)
        if module is None:
            self._use(name)
            return
        for binding in module.bindings:
            self.reach(name, binding)

    def _use(self, module_name: str) -> None:
        top = module_name.split(".")[0]
        if top not in sys.stdlib_module_names and top not in ENGINES:
            self.libraries.add(DISTRIBUTIONS.get(top, top.replace("_", "-")))


def _is_of_nobody(module: Any) -> bool:
    """Whether a module is of no installed package: a script or a test."""
    path = getattr(module, "__file__", None)
    is_standard = getattr(module, "__name__", "").split(".")[0] in sys.stdlib_module_names
    return path is not None and "site-packages" not in path and not is_standard


def installed_version(library: str) -> str:
    """Installed version without the kind of its build: what was computed by one is taken as it is by another."""
    try:
        return version(library).partition("+")[0]
    except PackageNotFoundError:
        return "not installed"
