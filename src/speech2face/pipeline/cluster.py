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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from speech2face.pipeline import machine, node
from speech2face.pipeline.code import reached
from speech2face.pipeline.placement import environment_of, needs_of, request_of, slots_of
from speech2face.pipeline.plan import Plan, difference
from speech2face.pipeline.rejects import first_line, in_a_line
from speech2face.pipeline.shards import write_rows

ATTEMPTS = 3
"""How often a shard is begun whose worker dies with it, or with its node."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOOK_EVERY_S = 1.0
CONNECT_S = 10.0
VISIBLE_S = 90.0
"""NFS may hide from one machine what another has written for a minute."""
CANCEL_S = 10.0
WAITING_PER_SLOT = 2
"""Shards that are handed to Ray for each that can be computed at a time: when one is done, the next is there."""
RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "2",
    "RAY_py_gcs_connect_timeout_s": "5",
}
"""Ray's own settings: no telemetry; half a minute to connect, not five."""

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


def run(plan: Plan, compute: Callable[..., None], jobs: Iterable[Job], num_jobs: int) -> Iterator[None]:
    """Call `compute(*job)` for each job of a plan on the cluster; yields whenever one is done.

    Jobs are asked for when there is room for them. The last two things in a job are the path of its shard and the shard's metadata. Raises
    what `compute` raises; ValueError for a setting that does not fit the cluster; RuntimeError, with the remedy, where the cluster cannot
    be reached or a node is not fit.
    """
    if not num_jobs:
        return
    waiting = iter(jobs)
    first = next(waiting)
    with _connected(str(address())) as ray, _parts(first[-2].parent) as parts:
        nodes = _nodes(ray)
        request = request_of(plan.on_device, nodes)
        slots = {name: slots_of(request, has) for name, has in nodes.items()}
        threads = {name: max(1, int(nodes[name]["CPU"]) // slots[name]) for name in slots if slots[name]}
        place = node.Place(Path.cwd(), parts, tuple(needs_of(plan.context)), threads)
        ray.cloudpickle.register_pickle_by_value(node)
        remote = ray.remote(max_calls=0, max_retries=0)(node.work)
        options = {**request, "scheduling_strategy": "SPREAD", "runtime_env": {"env_vars": environment_of(request)}}

        def submit(job: Job) -> Any:
            # Kept by Ray, in this machine's memory, until the shard is computed or given up.
            return remote.options(name=plan.stage, **options).remote(place, [ray.put((compute, job))])

        room = machine.asked_workers() or WAITING_PER_SLOT * sum(slots.values())
        with _signals_noted() as heed:
            yield from _results(ray, plan.stage, chain([first], waiting), submit, room, request, heed)


def _results(
    ray: Any,
    stage: str,
    jobs: Iterator[Job],
    submit: Callable[[Job], Any],
    room: int,
    request: dict[str, float],
    heed: Callable[[], None],
) -> Iterator[None]:
    """Have at most `room` of the jobs with Ray at a time; yields whenever one is done."""
    again: deque[tuple[Job, int]] = deque()
    fresh = ((job, 1) for job in jobs)
    running: dict[Any, tuple[Job, int]] = {}  # each with the number of its attempts
    try:
        while True:
            while len(running) < room and (begun := again.popleft() if again else next(fresh, None)):
                running[submit(begun[0])] = begun
            if not running:
                break
            done, _ = ray.wait(list(running), timeout=LOOK_EVERY_S)
            heed()
            if not done and not any(slots_of(request, has) for has in _nodes(ray).values()):
                raise RuntimeError(
                    f"no node of the cluster is left that can compute {stage}; finished shards are kept: start nodes, then run again"
                )
            for reference in done:
                job, attempt = running.pop(reference)
                if (where := _outcome(ray, reference)) is not None:
                    _await(job[-2], where, heed)
                    yield
                elif attempt < ATTEMPTS:
                    again.append((job, attempt + 1))
                else:
                    raise RuntimeError(
                        f"{ATTEMPTS} worker processes of {stage} died of one shard, perhaps for want of memory; finished shards are kept: "
                        "run again, with S2F_WORKERS (here the shards at a time in the whole cluster) set to fewer if it happens again"
                    )
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=CANCEL_S)


def _outcome(ray: Any, reference: Any) -> str | None:
    """The name of the node that has computed a shard; None where the worker died. Raises what the worker raised."""
    try:
        return str(ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RuntimeEnvSetupError as error:
        raise RuntimeError(f"a node cannot start workers: {in_a_line(str(error))}") from None
    except ray.exceptions.RayError:
        return None


def _await(path: Path, where: str, heed: Callable[[], None]) -> None:
    """Wait until this machine sees a file, of which a node says that it has written it."""
    deadline = time.monotonic() + VISIBLE_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{where} has written {path}, and this machine does not see it; both must mount the same file system"
            )
        time.sleep(0.2)
        heed()
        list(path.parent.iterdir())  # makes NFS look


@contextmanager
def _signals_noted() -> Iterator[Callable[[], None]]:
    """Note SIGTERM and Ctrl-C; the function that is given does what they ask for.

    Of what a handler raises while Ray waits, Ray loses the exit status.
    """
    noted: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: noted.append(number)) for number in SIGNALS}

    def heed() -> None:
        if noted:
            restore()
            signal.raise_signal(noted.pop(0))

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield heed
    finally:
        restore()
        heed()


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
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        ray.init(address=where, log_to_driver=bool(os.environ.get("S2F_DEBUG")), logging_level=logging.CRITICAL)
    except (RuntimeError, ValueError, OSError) as error:
        raise RuntimeError(
            f"S2F_CLUSTER={where} cannot be joined ({in_a_line(' '.join(str(error).split()))}); this machine must be a node of it: "
            "`ray start --address=host:port` here, with Ray's and Python's versions and Ray's token (RAY_AUTH_MODE) the same on all nodes"
        ) from None
    finally:
        for number, handler in handlers.items():
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
