"""Writes into dvc.yaml which modules each stage imports (`make deps`), since DVC can depend on files only."""

from pathlib import Path

from ruamel.yaml import YAML

from speech2face.pipeline.provenance import source_files


def update(root: Path) -> None:
    """Replace the modules among each stage's deps by those that its script imports; data stays, comments stay."""
    yaml = YAML()
    yaml.width = 140
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = root / "dvc.yaml"
    content = yaml.load(path)
    for name, stage in content["stages"].items():
        modules = [p.relative_to(root.resolve()).as_posix() for p in source_files(root / "stages" / f"{name}.py")]
        data = [dep for dep in stage["deps"] if not dep.endswith(".py")]
        stage["deps"] = [*data, *sorted(modules, key=lambda module: (not module.startswith("stages/"), module))]
    yaml.dump(content, path)


if __name__ == "__main__":
    update(Path())
