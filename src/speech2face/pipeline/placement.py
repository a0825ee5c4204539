"""What a shard takes of a cluster's node, and what its worker is to know of the stage."""

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from speech2face.pipeline import machine
from speech2face.pipeline.code import PACKAGE


def slots_of(request: dict[str, float], has: Mapping[str, float]) -> int:
    """How many shards a node computes at a time."""
    processors = int(has.get("CPU", 0) // request["num_cpus"])
    if not request["num_gpus"]:
        return processors
    return min(processors, int(has.get("GPU", 0)) * int(1 / request["num_gpus"]))


def request_of(on_device: bool, nodes: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What one shard takes: a processor, and of a GPU what `machine.gpus_per_worker` says where the cluster has any.

    Raises ValueError for settings that do not fit the cluster: Ray would wait for ever.
    """
    device = os.environ.get("S2F_DEVICE")
    if device not in (None, "cpu", "cuda"):
        raise ValueError(
            f"S2F_DEVICE must be cpu or cuda on a cluster (got {device!r}), where Ray chooses the GPU; unset it for GPUs if there are any"
        )
    asked = device == "cuda" or "S2F_GPUS_PER_WORKER" in os.environ
    on_gpu = on_device and device != "cpu" and (asked or any(has.get("GPU", 0) for has in nodes.values()))
    request = {"num_cpus": 1.0, "num_gpus": machine.gpus_per_worker() if on_gpu else 0.0}
    if not any(slots_of(request, has) for has in nodes.values()):
        have = "; ".join(f"{has.get('CPU', 0):g} processors and {has.get('GPU', 0):g} GPUs" for has in nodes.values())
        raise ValueError(
            f"a shard takes 1 processor and {request['num_gpus']:g} of a GPU, and no node of the cluster has both (they have {have}); "
            "start nodes that do (`ray start --num-gpus`), or unset S2F_GPUS_PER_WORKER and S2F_DEVICE"
        )
    return request


def environment_of(request: dict[str, float]) -> dict[str, str]:
    """Environment variables of the workers: they have those of `ray start`, and none of this process."""
    wanted = {name: text for name, text in os.environ.items() if name.startswith("S2F_") and name != "S2F_CLUSTER"}
    folders = [str(PACKAGE.parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    wanted["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(str(Path(folder).absolute()) for folder in folders))
    if "DVC_ROOT" in os.environ:
        wanted["DVC_ROOT"] = str(Path(os.environ["DVC_ROOT"]).absolute())
    return wanted if request["num_gpus"] else wanted | {"S2F_DEVICE": "cpu"}


def needs_of(value: Any) -> Iterator[Path]:
    """The files and folders that a context names, and of each folder something in it: a folder to mount on is empty until then."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from needs_of(item)
    elif isinstance(value, str | Path) and os.path.lexists(value):
        path = Path(value).absolute()
        yield path
        if path.is_dir():
            yield from islice(path.glob("[!.]*"), 1)
