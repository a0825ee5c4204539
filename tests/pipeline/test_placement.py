import os
from pathlib import Path

import pytest

from speech2face.pipeline.placement import environment_of, needs_of, request_of, slots_of

LAB = {"server": {"CPU": 32.0, "GPU": 2.0}, "desk": {"CPU": 8.0}, "head": {"CPU": 0.0}}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("S2F_", "DVC_ROOT"))]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("settings", "on_device", "num_gpus", "slots"),
    [
        ({}, False, 0.0, [32, 8, 0]),
        ({}, True, 0.25, [8, 0, 0]),
        ({"S2F_GPUS_PER_WORKER": "0.5"}, True, 0.5, [4, 0, 0]),
        ({"S2F_GPUS_PER_WORKER": "0.3"}, True, 0.3, [6, 0, 0]),  # three on each GPU: nobody's share is of two
        ({"S2F_GPUS_PER_WORKER": "0.01"}, True, 0.01, [32, 0, 0]),
        ({"S2F_DEVICE": "cpu"}, True, 0.0, [32, 8, 0]),
        ({"S2F_DEVICE": "cuda", "S2F_GPUS_PER_WORKER": "1"}, True, 1.0, [2, 0, 0]),
        ({"S2F_DEVICE": "cuda"}, False, 0.0, [32, 8, 0]),
    ],
)
def test_a_shard_takes_a_processor_and_its_share_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], on_device: bool, num_gpus: float, slots: list[int]
):
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    request = request_of(on_device, LAB)
    assert request == {"num_cpus": 1.0, "num_gpus": num_gpus}
    assert [slots_of(request, has) for has in LAB.values()] == slots


def test_without_gpus_networks_run_on_processors():
    assert request_of(True, {"desk": {"CPU": 8.0}})["num_gpus"] == 0


@pytest.mark.parametrize(
    ("settings", "nodes", "message"),
    [
        (
            {"S2F_DEVICE": "cuda"},
            {"desk": {"CPU": 8.0}},
            r"0.25 of a GPU, .* \(they have 8 processors and 0 GPUs\); .*--num-gpus",
        ),
        ({"S2F_GPUS_PER_WORKER": "1"}, {"desk": {"CPU": 8.0}}, r"takes 1 processor and 1 of a GPU, and no node"),
        ({"S2F_GPUS_PER_WORKER": "1.5"}, LAB, r"S2F_GPUS_PER_WORKER must be a number from 0.01 to 1 \(got '1.5'\)"),
        ({}, {"apart": {"CPU": 0.0, "GPU": 1.0}, "desk": {"CPU": 8.0}}, "no node of the cluster has both"),
        ({}, {"head": {"CPU": 0.0}}, "no node of the cluster has both"),
        ({}, {}, "no node of the cluster has both"),
        ({"S2F_DEVICE": "cuda:1"}, LAB, r"S2F_DEVICE must be cpu or cuda on a cluster \(got 'cuda:1'\)"),
    ],
)
def test_what_no_node_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], nodes: dict[str, dict[str, float]], message: str
):
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(ValueError, match=message):
        request_of(True, nodes)


def test_workers_get_settings_and_absolute_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    settings = {
        "S2F_CLUSTER": "auto",
        "S2F_DEBUG": "1",
        "PYTHONPATH": "src::/elsewhere",
        "DVC_ROOT": "..",
        "HOME": "/home",
    }
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    found = environment_of({"num_cpus": 1, "num_gpus": 0.25})
    package, *folders = found.pop("PYTHONPATH").split(os.pathsep)
    assert (Path(package) / "speech2face" / "pipeline" / "placement.py").is_file()
    assert folders == [str(tmp_path / "src"), "/elsewhere"]
    assert (tmp_path / found.pop("DVC_ROOT")).samefile(tmp_path.parent)
    assert found == {"S2F_DEBUG": "1"}
    assert environment_of({"num_cpus": 1, "num_gpus": 0.0})["S2F_DEVICE"] == "cpu"


def test_what_a_context_needs_is_every_path_in_it_and_something_in_each_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / ".hidden").touch()
    (tmp_path / "recordings" / "a.wav").touch()
    (tmp_path / "net").touch()
    (tmp_path / "empty").mkdir()
    context = {
        "root": "recordings",
        "caches": (str(tmp_path / "empty"),),
        "weights": {"net": Path("net"), "none": None},
        "pause_s": 1.5,
    }
    expected = [tmp_path / name for name in ("recordings", "recordings/a.wav", "empty", "net")]
    assert list(needs_of(context | {"name": "no such file"})) == expected
