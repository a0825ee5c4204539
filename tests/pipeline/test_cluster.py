"""Work on a cluster, without one: addresses, signals, and what becomes of shards."""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from speech2face.pipeline import cluster, code, engine
from tests.pipeline import nodes, slow_stage
from tests.pipeline.nodes import ROOT

pytestmark = pytest.mark.slow


def test_nothing_of_ray_is_imported_unless_asked_for(tmp_path: Path):
    script = "import sys; from tests.pipeline import slow_stage as s; s.run(s.Path('out')); print('ray' in sys.modules)"
    environment = nodes.clean() | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "S2F_WORKERS": "1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_ray_is_nothing_that_results_are_made_from():
    found = code.reached(engine.map_shards)
    assert "speech2face.pipeline.cluster" in found.modules and "tqdm" in found.libraries
    assert "ray" not in found.libraries


def test_an_address_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setenv("S2F_CLUSTER", f"127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(
            RuntimeError, match=r"^no cluster answers at S2F_CLUSTER=127.* \(Connection refused\); start one .*$"
        ):
            slow_stage.run(Path("out"))
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    "text", ["", "here", "host:", ":6379", "host:0", "host:70000", "ray://host:10001", "http://host:80"]
)
def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("S2F_CLUSTER", text)
    with pytest.raises(ValueError, match=f"S2F_CLUSTER must be auto or host:port, .*got {text!r}"):
        cluster.address()


def test_ray_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S2F_CLUSTER", "auto")
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError,
        match=r"ray is not installed; run: pip install -r requirements-cluster.txt \(or",
    ):
        slow_stage.run(Path("out"))


class Lost(Exception):
    """As `ray.exceptions.WorkerCrashedError`."""


class Raised(Exception):
    """As `ray.exceptions.RayTaskError`."""


class Refused(Exception):
    """As `ray.exceptions.RuntimeEnvSetupError`."""


class Dealer:
    """Ray's part of a run: what happens to a shard each time that it is computed, in turn."""

    exceptions = SimpleNamespace(RayError=Lost, RayTaskError=Raised, RuntimeEnvSetupError=Refused)

    def __init__(self, *outcomes: str) -> None:
        self.outcomes, self.most, self.cancelled = list(outcomes), 0, 0

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": "n", "Alive": "gone" not in self.outcomes, "Resources": {"CPU": 2.0}}]

    def wait(
        self, running: list[object], num_returns: int = 1, timeout: float = 0
    ) -> tuple[list[object], list[object]]:
        self.most = max(self.most, len(running))
        return ([], running) if self.outcomes[0] == "gone" else (running[:1], running[1:])

    def get(self, reference: object) -> str:
        if self.outcomes.pop(0) == "lost":
            raise Lost
        return "node n"

    def cancel(self, reference: object, force: bool) -> None:
        self.cancelled += 1

    def run(self, num_jobs: int, room: int = 2) -> int:
        jobs = iter([(Path(__file__), {})] * num_jobs)
        request = {"num_cpus": 1.0, "num_gpus": 0.0}
        return sum(1 for _ in cluster._results(self, "slow", jobs, lambda job: object(), room, request, lambda: None))


def test_an_interrupt_is_noted_until_it_is_heeded(monkeypatch: pytest.MonkeyPatch):
    handled = []
    monkeypatch.setattr(cluster, "SIGNALS", (signal.SIGUSR1,))
    before = signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))
    try:
        with cluster._signals_noted() as heed:
            signal.raise_signal(signal.SIGUSR1)
            assert not handled
            heed()
            assert handled == [signal.SIGUSR1]
        with cluster._signals_noted():
            signal.raise_signal(signal.SIGUSR1)
        assert handled == [signal.SIGUSR1] * 2
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_shard_is_begun_again_when_its_worker_dies():
    dealer = Dealer("lost", "done", "lost", "done", "done")
    assert (dealer.run(3), dealer.most, dealer.cancelled) == (3, 2, 0)


def test_a_shard_that_kills_its_workers_is_an_error():
    dealer = Dealer("lost", "lost", "lost")
    with pytest.raises(RuntimeError, match=r"^3 worker processes of slow died of one shard, .* S2F_WORKERS .*"):
        dealer.run(1)


def test_when_no_node_is_left_nobody_waits():
    dealer = Dealer("done", "gone")
    with pytest.raises(
        RuntimeError, match=r"^no node of the cluster is left that can compute slow; .* start nodes, then run again$"
    ):
        dealer.run(3)
    assert dealer.cancelled == 2
