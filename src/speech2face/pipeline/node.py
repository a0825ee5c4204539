"""What a node of a cluster does with a shard.

These functions are sent there whole, so that they can say what is wrong with a node on which this project cannot be imported: above the
functions, only what comes with Python is.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where a run takes place, with absolute paths.

    folder: the folder that the stage runs in; parts: a folder of this run alone, with a random name, beside the finished shards; needs:
    files and folders that the shards are made from; threads: of one computation, by the identity of the node.
    """

    folder: Path
    parts: Path
    needs: tuple[Path, ...]
    threads: Mapping[str, int]


def work(place: Place, held: Sequence[Any]) -> str:
    """Compute one shard; returns the node's name.

    Args:
        held: Ray's reference to the function that computes and its arguments, of which the last two are where the shard is to be and its
            metadata. In a list, because Ray itself fetches what is not in one, and then nobody can say what this node lacks.

    Raises RuntimeError, in one line, where this node is not fit for the work, and whatever the function raises.
    """
    import ray

    check_files(place)
    # Paths are to mean what they mean where the stage was started; a worker starts in the folder of `ray start`.
    os.chdir(place.folder)
    try:
        compute, (*arguments, path, metadata) = ray.get(held[0])
        from speech2face.pipeline.cluster import check_code
    except (ray.exceptions.RaySystemError, ImportError) as error:
        missing = getattr(error, "client_exc", error)
        if not isinstance(missing, ImportError | AttributeError):
            raise
        raise RuntimeError(
            f"{name()} cannot import what the stage needs ({missing}); install there what is installed here: pip install -r "
            "requirements.txt -r requirements-cluster.txt"
        ) from None
    check_code(arguments[0], metadata, name())
    # What does not need torch does without its half gigabyte; where it is loaded later, Ray makes it one thread.
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(place.threads.get(ray.get_runtime_context().get_node_id(), 1))
    part = place.parts / path.name
    compute(*arguments, part, metadata)
    part.replace(path)
    return name()


def check_files(place: Place) -> None:
    """Raise RuntimeError where this node does not see the files that the run reads, or not those that it writes."""
    unseen = [path for path in (place.folder, *place.needs) if not os.path.lexists(path)]
    if not place.parts.is_dir():
        unseen.append(place.parts.parent)  # it may be there, and be another
    if unseen:
        raise RuntimeError(
            f"{name()} does not see {unseen[0]}, or has another of this name; all nodes must see the repository, its .work and the "
            "recordings under the same paths: mount the same shared file system there"
        )
    if not os.access(place.parts, os.W_OK):
        raise RuntimeError(f"{name()} may not write to {place.parts.parent}; run `ray start` there as a user who may")


def name() -> str:
    """This node in words."""
    import ray

    return f"node {socket.gethostname()} ({ray.util.get_node_ip_address()})"
