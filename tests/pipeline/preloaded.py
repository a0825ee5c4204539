"""`python` and `dvc` that start at once, for tests that start them hundreds of times.

A process that has imported the large libraries, but nothing of this project, forks for each command. What runs is the same code with
the same arguments, folder, environment and streams; only importing torch again, three seconds each time, is left out. Some tests
run with fresh interpreters (`Clone(fresh=True)`).
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

LIBRARIES = (
    "av configobj dulwich.porcelain dvc.cachemgr dvc.cli dvc.cli.parser dvc.commands.experiments.run dvc.commands.repro "
    "dvc.commands.status dvc.compare dvc.data_cloud dvc.lock dvc.repo dvc.repo.artifacts dvc.repo.datasets dvc.repo.experiments "
    "dvc.repo.metrics.show dvc.repo.open_repo dvc.repo.params.show dvc.repo.plots dvc.repo.stage dvc.scm dvc.stage.run dvc.types "
    "dvc.utils.strictyaml dvc_data.hashfile.db.local dvclive fsspec.implementations.memory h5py insightface.model_zoo.arcface_onnx "
    "insightface.model_zoo.attribute jinja2 matplotlib.backends.backend_agg matplotlib.backends.backend_svg matplotlib.pyplot "
    "multiprocessing.dummy multiprocessing.sharedctypes onnx onnxruntime pandas pandas.io.formats.csvs PIL.Image PIL.ImageDraw "
    "PIL.ImageFont PIL.JpegImagePlugin platformdirs.unix pyarrow.dataset pyarrow.parquet pydantic.json_schema pydantic.main "
    "safetensors.torch scipy.io scipy.signal scipy.spatial scipy.stats scmrepo.git skimage.transform sklearn.linear_model "
    "sklearn.pipeline torch torch._dynamo torchaudio tqdm"
)
# Isolated and without site-packages, so that it starts in some 15 ms.
SHIM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps([{start!r} + sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(request)
    answer = server.recv(4)
status = int.from_bytes(answer, "big", signed=True) if answer else 1
if status < 0:  # ended by a signal
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@cache
def preloaded() -> Path:
    """A folder with `python` and `dvc` for the front of PATH; their server ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="preloaded-"))
    address = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        server = subprocess.Popen(
            [sys.executable, __file__, str(listening.fileno())],
            cwd="/",
            pass_fds=[listening.fileno()],
            env=os.environ | {"OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"},
        )
    atexit.register(server.kill)
    for name, start in {"python": [], "dvc": ["-m", "dvc"]}.items():
        shim = folder / "bin" / name
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(SHIM.format(python=sys.executable, address=address, start=start))
        shim.chmod(0o755)
    return folder / "bin"


def serve(listening: socket.socket) -> None:
    """Answer each connection in a process of its own."""
    for library in LIBRARIES.split():
        __import__(library)
    gc.freeze()  # or each child walks, and so copies, all that was imported
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            break
        connection.close()
    size, streams, _, _ = socket.recv_fds(connection, 4, 3)
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        request += connection.recv(1 << 16)
    child = os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        end(*json.loads(request))
        return
    _, status = os.waitpid(child, 0)
    connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
    os._exit(0)


def end(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run `python *arguments` in this process, and end it as the interpreter does, but without freeing all that was imported, which
    takes longer than most commands. After an interrupt it returns to the interpreter, which then ends itself by the signal."""
    status: object = None
    try:
        interpret(arguments, folder, environment)
    except SystemExit as ending:
        status = ending.code
        if status is not None and not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except KeyboardInterrupt:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(int(status or 0) & 0xFF)


def interpret(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run `python *arguments` in this process."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    is_isolated = arguments[:2] == ["-I", "-c"]
    first, *rest = arguments[is_isolated:]
    if first.startswith("-") and first not in ("-m", "-c"):
        os.execv(sys.executable, [sys.executable, *arguments])
    folders = [] if is_isolated else os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [str(Path(path).absolute()) for path in folders if path]
    if first == "-m":
        sys.argv = rest
        sys.path.insert(0, folder)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path[:0] = [] if is_isolated else [""]
        exec(compile(rest[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(first).resolve().parent))
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
