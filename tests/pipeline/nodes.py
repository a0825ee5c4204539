"""A Ray cluster of two nodes on this machine, in a network of its own: nothing outside reaches it, and it reaches nothing.

Ray runs what it is sent, by whoever reaches its ports. All its processes are in a namespace, too, and end with the first of them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:6399"
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--mount-proc", "--pid", "--fork", "--kill-child"]
START = f"""
import fcntl, os, socket, struct, subprocess, sys
from pathlib import Path
folder = Path(sys.argv[1])
with socket.socket() as s:  # what `ip link set lo up` does
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", folder / "full"], check=True)
common = ["ray", "start", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"]
head = ["--head", "--port={ADDRESS.rpartition(":")[2]}", "--include-dashboard=false", f"--temp-dir={{folder}}"]
mounts = f"mount -t tmpfs none {{folder}}/blind && mount --bind {{folder}}/theirs {{folder}}/ours"
elsewhere = ["unshare", "--mount", "sh", "-c", mounts + ' && exec "$@"', "sh"]
for command in (common + head, elsewhere + common + ["--address={ADDRESS}"]):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")
    if done.returncode:
        sys.exit(done.stdout)
print("ready", flush=True)
while True:
    os.wait()  # as the first process of a system must
"""


class Cluster:
    """Two nodes, each with one processor; `first` is the process that all others end with.

    The second node does not see what is in `folder / "blind"`, and in `folder / "ours"` sees what is in `theirs`; in `full` there is
    room for 16 KB.
    """

    def __init__(self, first: psutil.Process, folder: Path) -> None:
        self.first, self.folder = first, folder

    def start(self, *code: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
        """Start `python -c code` beside the nodes."""
        inside = [
            "nsenter",
            "--target",
            str(self.first.pid),
            "--user",
            "--net",
            "--pid",
            "--mount",
            "--preserve-credentials",
        ]
        return subprocess.Popen(
            [*inside, f"--wdns={cwd}", sys.executable, "-c", *code],
            env=clean() | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "S2F_CLUSTER": ADDRESS} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def second(self) -> psutil.Process:
        """The process that manages the second node, and whose children are the node's workers."""
        [manager] = self.processes("raylet.1 ")
        return manager

    def processes(self, word: str) -> list[psutil.Process]:
        """Processes in the namespace whose command has this word."""
        found = []
        for process in self.first.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found


def clean() -> dict[str, str]:
    names = ("DVC", "S2F", "PYTHONPATH", "RAY")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {n: text for n, text in os.environ.items() if not n.startswith(names)} | {
        "PATH": path,
        "OMP_NUM_THREADS": "1",
    }


def why_not() -> str | None:
    """Why this machine makes no such network; None if it does."""
    try:
        needed = "mount -t tmpfs none /tmp && command -v nsenter"
        done = subprocess.run([*NAMESPACES, "sh", "-c", needed], capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no unshare here"
    return f"unshare is not permitted here, or nsenter is missing: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Two nodes that start in the root folder, with no environment variable of this project's."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: names of sockets are at most 107 bytes
    for name in ("blind", "ours", "theirs", "full"):
        (folder / name).mkdir()
    holder = subprocess.Popen(
        [*NAMESPACES, sys.executable, "-c", START, str(folder)],
        env=clean(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stderr is not None
        assert holder.stdout.readline() == "ready\n", holder.stderr.read()
        [first] = psutil.Process(holder.pid).children()
        yield Cluster(first, folder)
    finally:
        holder.kill()
        holder.communicate()
        shutil.rmtree(folder, ignore_errors=True)
