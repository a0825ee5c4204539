from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from speech2face.face_networks.files.saving import content_digest, save

TENSORS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7)}
TURNED = {"a": TENSORS["a"], "b": np.asfortranarray(TENSORS["b"])}


@pytest.mark.parametrize("tensors", [TENSORS, TURNED])
def test_what_is_saved_is_read_back(tmp_path: Path, tensors: dict):
    path = tmp_path / f"{save(tmp_path, tensors, {'kind': 'any'})}.safetensors"
    found = load_file(path)
    assert sorted(found) == ["a", "b"]
    for name, array in TENSORS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
    assert [other.name for other in tmp_path.iterdir()] == [path.name]


def test_the_digest_is_of_the_content_alone():
    expected = content_digest(TENSORS, "text")
    assert content_digest(TURNED, "text") == expected
    for changed in (
        TENSORS | {"b": TENSORS["b"].reshape(3, 2)},
        TENSORS | {"b": TENSORS["b"].view(np.int32)},
        TENSORS | {"b": TENSORS["b"] + np.float32(1e-6)},
        {"b": TENSORS["b"], "c": TENSORS["a"]},
    ):
        assert content_digest(changed, "text") != expected
    assert content_digest(TENSORS, "other text") != expected


def test_a_number_that_json_cannot_hold_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(tmp_path, TENSORS, {"alpha": float("nan")})
    assert not list(tmp_path.iterdir())
