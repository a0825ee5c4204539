"""What the readers of weight files refuse, and that they run nothing."""

import pickle
from pathlib import Path

import pytest
import torch

from speech2face.speaker_networks.backends import weight_file
from speech2face.speaker_networks.files import convert_campplus, convert_ge2e

CONVERT = {"ge2e": convert_ge2e, "campplus": convert_campplus}
pytestmark = pytest.mark.slow


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "run"))


@pytest.fixture(params=CONVERT)
def network(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_same_file_gives_the_same_digest(network: str, tmp_path: Path):
    digests = {CONVERT[network](weight_file(network), str(tmp_path / str(i))) for i in range(2)}
    assert len(digests) == 1 and len(digests.pop()) == 64


@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_refused(network: str, part: float, tmp_path: Path):
    content = weight_file(network).read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=r"cut\.pt"):
        CONVERT[network](path, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_other_network_is_refused(network: str, tmp_path: Path):
    other = next(name for name in CONVERT if name != network)
    with pytest.raises(ValueError, match=r"pt (is not a GE2E checkpoint|holds another network than campplus)"):
        CONVERT[network](weight_file(other), str(tmp_path))


def test_code_is_not_run(network: str, tmp_path: Path):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"model_state": Runs(tmp_path / "proof")}))
    with pytest.raises(ValueError, match=r"evil\.pt"):
        CONVERT[network](path, str(tmp_path))
    torch.save({"model_state": Runs(tmp_path / "proof")}, path)
    with pytest.raises(ValueError, match="nothing in it was run"):
        CONVERT[network](path, str(tmp_path))
    assert not (tmp_path / "proof").exists()


def test_wrong_tensors_are_refused(network: str, tmp_path: Path):
    content = torch.load(weight_file(network), map_location="cpu", weights_only=True)
    state = content["model_state"] if network == "ge2e" else content
    name = "linear.weight" if network == "ge2e" else "xvector.dense.linear.weight"
    right = state[name]
    for wrong, message in (
        (right[:-1], "must be|do not fit"),
        (right.clone().fill_(float("nan")), "NaN"),
        (right.to_sparse(), "must be|no tensor"),
        ("text", "must be|no tensor"),
    ):
        state[name] = wrong
        torch.save(content, tmp_path / "wrong.pt")
        with pytest.raises(ValueError, match=message):
            CONVERT[network](tmp_path / "wrong.pt", str(tmp_path / "out"))
    del state[name]
    torch.save(content, tmp_path / "wrong.pt")
    with pytest.raises(ValueError, match="another network"):
        CONVERT[network](tmp_path / "wrong.pt", str(tmp_path / "out"))
    state[name], state["more.weight"] = right, right
    torch.save(content, tmp_path / "wrong.pt")
    with pytest.raises(ValueError, match=r"more\.weight"):
        CONVERT[network](tmp_path / "wrong.pt", str(tmp_path / "out"))
