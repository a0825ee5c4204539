"""What was measured on a machine, and the file that keeps it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.params import Params

UNREAD = (
    "lr",
    "seed",
    "max_reject_fraction",
    "corpus.source",
    "corpus.root",
    "corpus.clips_per_shard",
    "corpus.splits",
    "corpus.synthetic",
    "decoder.epochs",
    "encoder.epochs",
    "encoder.patience",
    "encoder.speaker_embedding.epochs",
)
"""Parameters that change no rate: the model multiplies by them, or they change no time."""


@dataclass(frozen=True)
class Rate:
    """What a stage takes: `fixed_s` and `item_s` seconds for it and for each item with the workers of that machine; `memory_mib` of all of
    its processes together; bytes of its outputs, for it, for each item and for each shard."""

    fixed_s: float
    item_s: float
    memory_mib: float
    fixed_bytes: float = 0.0
    item_bytes: float = 0.0
    shard_bytes: float = 0.0


@dataclass(frozen=True)
class Rates:
    """What was measured on a machine.

    machine: its `device` (cpu or cuda), numbers of `processors` and `gpus`, and of `workers` without and with networks
    (`device_workers`); settings: the parameters that were measured, by their names; of_corpus: rates by corpus and stage, of the stages
    that read its files; common: those of the others; numbers: all else, by name (`model` says what each is);
    version: of the package.
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    of_corpus: dict[str, dict[str, Rate]]
    common: dict[str, Rate]
    numbers: dict[str, float]
    version: str = ""

    def of(self, corpus: str, stage: str) -> Rate:
        """The rate of a stage. Raises ValueError for a corpus that was not measured."""
        if corpus not in self.of_corpus:
            raise ValueError(f"these rates are of {', '.join(self.of_corpus)} and not of {corpus}; measure it")
        return self.of_corpus[corpus].get(stage) or self.common[stage]

    def differences(self, params: Params, version: str) -> list[str]:
        """What was measured otherwise than these parameters and this version of the package ask for, in words."""
        now = settings_of(params)
        found = [
            f"{name} {self.settings.get(name)} -> {now.get(name)}"
            for name in sorted(now.keys() | self.settings.keys())
            if now.get(name) != self.settings.get(name)
        ]
        return [*([f"version {self.version} -> {version}"] if self.version != version else []), *found]


def settings_of(params: Params) -> dict[str, Any]:
    """The parameters that change a rate, by their names."""
    found = _flat(params.model_dump(mode="json"))
    return {name: value for name, value in found.items() if not any(f"{name}.".startswith(f"{u}.") for u in UNREAD)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def save(path: Path, rates: Rates) -> None:
    """Write rates as JSON."""
    write_json(path, asdict(rates))


def load(path: Path) -> Rates:
    """Read a file that `save` wrote. Raises ValueError, in one line, for one that is not there or is anything else."""
    remedy = "make one with: speech2face estimate --save-rates FILE"
    try:
        values = json.loads(path.read_text("utf-8"))
        if not isinstance(values, dict) or values.keys() != {one.name for one in fields(Rates)}:
            raise ValueError("it lacks entries or has others")
        of_corpus = {name: _rates(stages) for name, stages in values["of_corpus"].items()}
        numbers = {name: float(value) for name, value in values["numbers"].items()}
        return Rates(**{**values, "of_corpus": of_corpus, "common": _rates(values["common"]), "numbers": numbers})
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; {remedy}") from None
    except (ValueError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no file of rates ({' '.join(str(error).split())}); {remedy}") from None


def _rates(stages: Mapping[str, Mapping[str, float]]) -> dict[str, Rate]:
    return {stage: Rate(**{key: float(value) for key, value in values.items()}) for stage, values in stages.items()}
