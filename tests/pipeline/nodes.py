"""A Ray cluster of two nodes on this machine, in a network of its own: nothing outside reaches it, and it reaches nothing.

Ray runs what it is sent, by whoever reaches its ports. All its processes are in a namespace, too, and end with the first of them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:6399"
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--mount-proc", "--pid", "--fork", "--kill-child"]
START = f"""
import fcntl, socket, struct, subprocess, sys
with socket.socket() as s:  # what `ip link set lo up` does
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
common = ["ray", "start", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"]
head = ["--head", "--port={ADDRESS.rpartition(":")[2]}", "--include-dashboard=false", "--temp-dir=" + sys.argv[1]]
for options in (head, ["--address={ADDRESS}"]):
    done = subprocess.run(common + options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")
    if done.returncode:
        sys.exit(done.stdout)
print("ready", flush=True)
sys.stdin.read()
"""


class Cluster:
    """Two nodes, each with one processor; `first` is the process that all others end with."""

    def __init__(self, first: psutil.Process) -> None:
        self.first = first

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

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes in the namespace whose command has all these words."""
        found = []
        for process in self.first.children(recursive=True):
            try:
                if all(word in " ".join(process.cmdline()) for word in words):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
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
        done = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no unshare here"
    return f"unshare is not permitted here: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Two nodes that start in the root folder, with no environment variable of this project's."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: names of sockets are at most 107 bytes
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
        yield Cluster(first)
    finally:
        holder.kill()
        holder.communicate()
        shutil.rmtree(folder, ignore_errors=True)
