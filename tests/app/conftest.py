"""Networks and a server for the tests of the page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from speech2face.drawing.model import Speech2Face
from tests.app.serving import running, save_models


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """As the server sets it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of small networks, whose stretch nothing says."""
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def model(models: Path) -> Speech2Face:
    return Speech2Face.load(models, "cpu")


@pytest.fixture(scope="module")
def port(model: Speech2Face) -> Iterator[int]:
    """Of a server in this process."""
    with running(model) as found:
        yield found
