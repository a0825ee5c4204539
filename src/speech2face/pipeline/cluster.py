"""Shards on the machines of a Ray cluster, where `S2F_CLUSTER` names one.

The machines share a file system: what is read and written are the same files as on one machine, under the same paths. Ray places the
work; nothing is kept in it. Each run has a folder of its own beside the finished shards, in which its workers write and which goes with
it, whatever becomes of them.
"""

import json
import logging
import os
import shutil
import signal
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from speech2face.pipeline import machine, node
from speech2face.pipeline.atomic import write_text
from speech2face.pipeline.code import PACKAGE, reached
from speech2face.pipeline.plan import Plan, difference
from speech2face.pipeline.rejects import first_line, in_a_line
from speech2face.pipeline.shards import write_rows

ATTEMPTS = 3
"""How often a shard is begun whose worker dies with it, or with its node."""
LOOK_EVERY_S = 10.0
CONNECT_S = 10.0
VISIBLE_S = 90.0
"""NFS may hide from one machine what another has written for a minute."""
CANCEL_S = 10.0
WAITING_PER_SLOT = 2
"""Shards that are handed to Ray for each that can be computed at a time: when one is done, the next is there."""
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_NUM_REDIS_GET_RETRIES": "2", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
"""Ray's own settings: no telemetry; half a minute to connect, not five; work that asks for no GPU sees none."""

Job = tuple[Any, ...]


def address() -> str | None:
    """`S2F_CLUSTER`: `auto` for the cluster that this machine belongs to, or `host:port`; None where it is not set.

    Raises ValueError for anything else.
    """
    text = os.environ.get("S2F_CLUSTER")
    if text is not None and text != "auto":
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or "/" in host or not 0 < int(port) < 65536:
            raise ValueError(
                f"S2F_CLUSTER must be auto or host:port, as `ray start` prints it (got {text!r}); unset it to compute on this machine"
            )
    return text


def run(plan: Plan, compute: Callable[..., None], jobs: Sequence[Job]) -> Iterator[None]:
    """Call `compute(*job)` for each job of a plan on the cluster; yields whenever one is done.

    The last two things in a job are the path of its shard and the shard's metadata. Raises what `compute` raises; ValueError for a
    setting that does not fit the cluster; RuntimeError, with the remedy, where the cluster cannot be reached or a node is not fit.
    """
    if not jobs:
        return
    with _connected(str(address())) as ray, _parts(jobs[0][-2].parent) as parts:
        nodes = _nodes(ray)
        request = _request(plan.on_device, nodes)
        slots = {name: _slots(request, has) for name, has in nodes.items()}
        threads = {name: max(1, int(nodes[name]["CPU"]) // slots[name]) for name in slots if slots[name]}
        place = node.Place(Path.cwd(), parts, uuid.uuid4().hex, tuple(_needs(plan.context)), threads)
        write_text(parts / node.TICKET, place.ticket)
        ray.cloudpickle.register_pickle_by_value(node)
        remote = ray.remote(max_calls=0, max_retries=0)(node.work)
        options = {**request, "scheduling_strategy": "SPREAD", "runtime_env": {"env_vars": _environment(request)}}

        def submit(job: Job) -> Any:
            return remote.options(name=plan.stage, **options).remote(place, ray.cloudpickle.dumps((compute, job)))

        room = machine.asked_workers() or WAITING_PER_SLOT * sum(slots.values())
        running: dict[Any, tuple[Job, int]] = {}
        try:
            yield from _results(ray, plan.stage, jobs, submit, running, room, request)
        finally:
            _cancel(ray, list(running))


def _results(
    ray: Any,
    stage: str,
    jobs: Sequence[Job],
    submit: Callable[[Job], Any],
    running: dict[Any, tuple[Job, int]],
    room: int,
    request: dict[str, float],
) -> Iterator[None]:
    """Keep at most `room` of the jobs `running`, each with the number of its attempts; yields whenever one is done."""
    waiting = deque((job, 1) for job in jobs)
    while waiting or running:
        while waiting and len(running) < room:
            job, attempt = waiting.popleft()
            running[submit(job)] = job, attempt
        done, _ = ray.wait(list(running), timeout=LOOK_EVERY_S)
        if not done and not any(_slots(request, has) for has in _nodes(ray).values()):
            raise RuntimeError(
                f"no node of the cluster is left that can compute {stage}; finished shards are kept: start nodes, then run again"
            )
        for reference in done:
            job, attempt = running.pop(reference)
            try:
                where = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:
                if attempt == ATTEMPTS:
                    raise RuntimeError(
                        f"{ATTEMPTS} worker processes of {stage} died of one shard, perhaps for want of memory ({first_line(error)}); "
                        "finished shards are kept: run again, with S2F_WORKERS (shards at a time in the whole cluster) set to fewer"
                    ) from None
                waiting.append((job, attempt + 1))
                continue
            _await(job[-2], where)
            yield


def _cancel(ray: Any, references: list[Any]) -> None:
    """End the workers of what is not done."""
    for reference in references:
        ray.cancel(reference, force=True)
    if references:
        ray.wait(references, num_returns=len(references), timeout=CANCEL_S)


def _await(path: Path, where: str) -> None:
    """Wait until this machine sees a file, of which a node says that it has written it."""
    deadline = time.monotonic() + VISIBLE_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{where} has written {path}, and this machine does not see it; both must mount the same file system"
            )
        time.sleep(0.2)
        list(path.parent.iterdir())  # makes NFS look


@contextmanager
def _parts(store: Path) -> Iterator[Path]:
    """A folder beside the finished shards for what the workers of this run write."""
    parts = store.absolute() / f".{uuid.uuid4().hex}.partial"
    parts.mkdir(parents=True)
    try:
        yield parts
    finally:
        shutil.rmtree(parts, ignore_errors=True)


@contextmanager
def _connected(where: str) -> Iterator[Any]:
    """The module `ray`, connected to the cluster."""
    if find_spec("ray") is None:
        raise ValueError(
            "S2F_CLUSTER is set and ray is not installed; run: pip install -r requirements-cluster.txt (or 'speech2face[cluster]'), or "
            "unset S2F_CLUSTER"
        )
    os.environ.update(RAY)
    import ray

    if where != "auto":
        _check_listening(where)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(address=where, log_to_driver=bool(os.environ.get("S2F_DEBUG")), logging_level=logging.CRITICAL)
    except (RuntimeError, ValueError, OSError) as error:
        raise RuntimeError(
            f"S2F_CLUSTER={where} cannot be joined ({in_a_line(' '.join(str(error).split()))}); this machine must be a node of the cluster: "
            "`ray start --address=host:port` here, with the same versions of Ray and Python on all nodes"
        ) from None
    for number, handler in handlers.items():  # Ray puts one of its own in place of a stage's
        signal.signal(number, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_listening(where: str) -> None:
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except OSError as error:
        raise RuntimeError(
            f"no cluster answers at S2F_CLUSTER={where} ({first_line(error)}); start one with `ray start --head`, or unset S2F_CLUSTER"
        ) from None


def _nodes(ray: Any) -> dict[str, dict[str, float]]:
    """What each node that is alive has, by its identity."""
    return {found["NodeID"]: found["Resources"] for found in ray.nodes() if found["Alive"]}


def _slots(request: dict[str, float], has: Mapping[str, float]) -> int:
    """How many shards a node computes at a time."""
    processors = int(has.get("CPU", 0) // request["num_cpus"])
    if not request["num_gpus"]:
        return processors
    return min(processors, int(has.get("GPU", 0)) * int(1 / request["num_gpus"]))


def _request(on_device: bool, nodes: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
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
    if not any(_slots(request, has) for has in nodes.values()):
        have = "; ".join(f"{has.get('CPU', 0):g} processors and {has.get('GPU', 0):g} GPUs" for has in nodes.values())
        raise ValueError(
            f"a shard takes 1 processor and {request['num_gpus']:g} of a GPU, and no node of the cluster has both (they have {have}); "
            "start nodes that do (`ray start --num-gpus`), or unset S2F_GPUS_PER_WORKER and S2F_DEVICE"
        )
    return request


def _environment(request: dict[str, float]) -> dict[str, str]:
    """Environment variables of the workers: they have those of `ray start`, and none of this process."""
    wanted = {name: text for name, text in os.environ.items() if name.startswith("S2F_") and name != "S2F_CLUSTER"}
    folders = [str(PACKAGE.parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    wanted["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(str(Path(folder).absolute()) for folder in folders))
    if "DVC_ROOT" in os.environ:
        wanted["DVC_ROOT"] = str(Path(os.environ["DVC_ROOT"]).absolute())
    return wanted if request["num_gpus"] else wanted | {"S2F_DEVICE": "cpu"}


def _needs(value: Any) -> Iterator[Path]:
    """The files and folders that a context names, and of each folder something in it: a folder to mount on is empty until then."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _needs(item)
    elif isinstance(value, str | Path) and os.path.lexists(value):
        path = Path(value).absolute()
        yield path
        if path.is_dir():
            yield from islice(path.glob("[!.]*"), 1)


def check_code(function: Callable[..., Any], metadata: Mapping[str, str], where: str) -> None:
    """Raise RuntimeError where the code and the libraries that `function` uses here are not those that a shard's metadata names."""
    said, found = json.loads(metadata["ingredients"]), _code(function)
    if others := difference({kind: said[kind] for kind in found}, found):
        raise RuntimeError(
            f"{where} has another version of what computes the shards ({'; '.join(others)}); give it the same code and packages, then run "
            "`ray stop` and `ray start` there"
        )


@cache
def _code(function: Callable[..., Any]) -> dict[str, dict[str, str]]:
    return reached(function, write_rows).as_dict()
