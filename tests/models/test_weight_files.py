"""What is saved comes back; what is broken or foreign is refused by name, and never executed."""

import copy
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.voice_encoder import VoiceEncoder
from speech2face.models.weight_files import load_network, read_about, save_network, tensors_digest, write_description

DIMENSIONS = {"base_channels": 2, "feature_dim": 5, "hidden_dim": 7}


ABOUT = {"segment_s": 6.0, "history": [{"val/total": 0.1, "lr": 1e-05}], "ingredients": {"inputs": {"faces": "00ff"}}}


@pytest.fixture(scope="module")
def moved() -> VoiceEncoder:
    torch.manual_seed(0)
    encoder = VoiceEncoder(**DIMENSIONS)
    encoder(torch.randn(2, 2, 257, 259))  # moves the running statistics
    return encoder


@pytest.fixture
def encoder(moved: VoiceEncoder) -> VoiceEncoder:
    return copy.deepcopy(moved)


@pytest.fixture
def saved(tmp_path: Path, encoder: VoiceEncoder) -> Path:
    save_network(encoder, tmp_path / "encoder", **DIMENSIONS)
    return tmp_path / "encoder.safetensors"


def assert_same(a: nn.Module, b: nn.Module) -> None:
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


class TestRoundTrip:
    @pytest.mark.parametrize("given", ["encoder", "encoder.safetensors"])
    def test_voice_encoder(self, saved: Path, encoder: VoiceEncoder, given: str) -> None:
        loaded = load_network(VoiceEncoder, saved.parent / given)
        assert_same(loaded, encoder)
        x = torch.randn(2, 2, 257, 259)
        assert torch.equal(loaded.eval()(x), encoder.eval()(x))
        assert loaded.training is False and all(parameter.requires_grad for parameter in loaded.parameters())

    @pytest.mark.parametrize("texture", ["cnn", "linear"])
    def test_face_decoder_with_its_means(self, tmp_path: Path, texture: str) -> None:
        dimensions = {
            "feature_dim": 4,
            "texture": texture,
            "first_dim": 3,
            "texture_channels": 32,
            "regularization": 0.2,
        }
        decoder = FaceDecoder(**dimensions)
        decoder.set_means(torch.rand(68, 2) * 200, torch.rand(3, 224, 224))
        save_network(decoder, str(tmp_path / "v1.5"), **dimensions)
        loaded = load_network(FaceDecoder, tmp_path / "v1.5")
        assert_same(loaded, decoder)
        assert loaded.regularization == 0.2

    def test_files(self, saved: Path) -> None:
        assert sorted(path.name for path in saved.parent.iterdir()) == ["encoder.json", "encoder.safetensors"]
        assert json.loads(saved.with_suffix(".json").read_text()) == {
            "network": "VoiceEncoder",
            "dimensions": DIMENSIONS,
        }
        assert load_file(saved)["fc2.weight"].shape == (5, 7)

    def test_the_same_network_makes_the_same_bytes(self, saved: Path, encoder: VoiceEncoder) -> None:
        before = saved.read_bytes()
        save_network(encoder, saved, **DIMENSIONS)
        assert saved.read_bytes() == before

    def test_random_generators_are_left_alone(self, saved: Path) -> None:
        state = torch.get_rng_state()
        load_network(VoiceEncoder, saved)
        assert torch.equal(torch.get_rng_state(), state)

    def test_channels_last_weights_come_back(self, tmp_path: Path, encoder: VoiceEncoder) -> None:
        encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        save_network(encoder, tmp_path / "e", **DIMENSIONS)
        assert_same(load_network(VoiceEncoder, tmp_path / "e"), encoder)


class TestSaving:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_diverged_network_is_refused_and_the_old_files_stay(
        self, saved: Path, encoder: VoiceEncoder, value: float
    ) -> None:
        before = saved.read_bytes()
        with torch.no_grad():
            encoder.fc2.weight[0, 0] = value
        with pytest.raises(ValueError, match=r"fc2\.weight holds NaN or infinity"):
            save_network(encoder, saved, **DIMENSIONS)
        assert saved.read_bytes() == before

    def test_dimensions_that_do_not_rebuild_it_are_refused(self, tmp_path: Path, encoder: VoiceEncoder) -> None:
        with pytest.raises(ValueError, match=r"fc1.bias is \[7\], expected \[8\] in a VoiceEncoder"):
            save_network(encoder, tmp_path / "e", **(DIMENSIONS | {"hidden_dim": 8}))
        with pytest.raises(ValueError, match=r"no VoiceEncoder has the dimensions.*depth"):
            save_network(encoder, tmp_path / "e", **DIMENSIONS, depth=3)
        assert not list(tmp_path.iterdir())

    def test_files_are_replaced_not_rewritten(self, saved: Path, encoder: VoiceEncoder, tmp_path: Path) -> None:
        """Who has the old file open, here through a second link, keeps the whole of it."""
        before = saved.read_bytes()
        (tmp_path / "reader").hardlink_to(saved)
        nn.init.ones_(encoder.fc2.bias)
        save_network(encoder, saved, **DIMENSIONS)
        assert (tmp_path / "reader").read_bytes() == before != saved.read_bytes()

    def test_a_failed_write_leaves_the_old_files_and_no_rest(
        self, saved: Path, encoder: VoiceEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = saved.read_bytes()

        def full_disk(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        nn.init.ones_(encoder.fc2.bias)
        monkeypatch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space left"):
            save_network(encoder, saved, **DIMENSIONS)
        assert saved.read_bytes() == before
        assert sorted(path.name for path in saved.parent.iterdir()) == ["encoder.json", "encoder.safetensors"]


class TestAbout:
    def test_what_else_there_is_to_say_comes_back_and_rebuilds_nothing(
        self, tmp_path: Path, encoder: VoiceEncoder
    ) -> None:
        save_network(encoder, tmp_path / "e", ABOUT, **DIMENSIONS)
        assert read_about(tmp_path / "e.safetensors") == ABOUT
        described = json.loads((tmp_path / "e.json").read_text())
        assert described == {"network": "VoiceEncoder", "dimensions": DIMENSIONS, "about": ABOUT}
        assert_same(load_network(VoiceEncoder, tmp_path / "e"), encoder)

    def test_the_order_is_kept(self, tmp_path: Path, encoder: VoiceEncoder) -> None:
        save_network(encoder, tmp_path / "e", {"b": {"z": 1, "a": 2}, "a": 3}, **DIMENSIONS)
        about = read_about(tmp_path / "e.safetensors")
        assert (list(about), list(about["b"])) == (["b", "a"], ["z", "a"])

    def test_a_file_may_say_nothing_else(self, saved: Path) -> None:
        assert read_about(saved) == {}

    def test_a_file_may_have_any_name(self, tmp_path: Path, encoder: VoiceEncoder) -> None:
        save_network(encoder, tmp_path / "e", ABOUT, **DIMENSIONS)
        (tmp_path / "e.safetensors").rename(tmp_path / "8f00b2")
        assert read_about(tmp_path / "8f00b2") == ABOUT

    def test_the_json_is_written_again_from_the_weights(self, tmp_path: Path, encoder: VoiceEncoder) -> None:
        save_network(encoder, tmp_path / "e", ABOUT, **DIMENSIONS)
        before = (tmp_path / "e.json").read_bytes()
        (tmp_path / "e.json").unlink()
        write_description(tmp_path / "e.safetensors")
        assert (tmp_path / "e.json").read_bytes() == before

    def test_what_is_not_json_is_refused_before_anything_is_written(
        self, tmp_path: Path, encoder: VoiceEncoder
    ) -> None:
        for value, error in ((float("nan"), ValueError), (Path("x"), TypeError)):
            with pytest.raises(error, match="JSON"):
                save_network(encoder, tmp_path / "e", {"value": value}, **DIMENSIONS)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("text", [None, "", "{", "[1]", "3"])
    def test_a_foreign_file_is_refused(self, saved: Path, text: str | None) -> None:
        save_file({"weight": torch.zeros(3)}, saved, metadata=None if text is None else {"network": text})
        for read in (read_about, write_description):
            with pytest.raises(ValueError, match=r"encoder.safetensors cannot be read, expected a weight file of this"):
                read(saved)

    @pytest.mark.parametrize("keep", [0, 4, 100, -1])
    def test_a_file_that_is_not_whole_is_refused(self, saved: Path, keep: int) -> None:
        saved.write_bytes(saved.read_bytes()[:keep])
        with pytest.raises(ValueError, match=r"encoder.safetensors cannot be read, expected a weight file of this"):
            read_about(saved)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"none.safetensors cannot be read"):
            read_about(tmp_path / "none.safetensors")


class TestTensorsDigest:
    def test_equal_tensors_have_one_digest_whatever_is_said_of_them(
        self, tmp_path: Path, saved: Path, encoder: VoiceEncoder
    ) -> None:
        save_network(encoder, tmp_path / "other", ABOUT, **DIMENSIONS)
        assert (tmp_path / "other.safetensors").read_bytes() != saved.read_bytes()
        bare = load_file(saved)
        save_file(dict(reversed(bare.items())), tmp_path / "bare.safetensors")
        digests = {tensors_digest(tmp_path / f"{name}.safetensors") for name in ("encoder", "other", "bare")}
        assert len(digests) == 1

    def test_names_types_shapes_and_every_bit_count(self, tmp_path: Path) -> None:
        def nan(payload: int) -> torch.Tensor:
            return torch.tensor([0x7FC00000 + payload, 0], dtype=torch.int32).view(torch.float32)

        variants = [
            {"a": torch.tensor([1.0, 0.0])},
            {"b": torch.tensor([1.0, 0.0])},
            {"a": torch.tensor([[1.0, 0.0]])},
            {"a": torch.tensor([1.0, 0.0]).view(torch.int32)},
            {"a": torch.tensor([1.0, -0.0])},
            {"a": torch.tensor([1.0000001, 0.0])},
            {"a": torch.tensor([1.0]), "b": torch.tensor([0.0])},
            {"a": nan(0)},
            {"a": nan(1)},
            {"a": torch.tensor([1.0, 0.0]), "empty": torch.zeros(0, 3)},
            {"a": torch.tensor([1.0, 0.0]), "scalar": torch.tensor(3)},
        ]
        digests = []
        for tensors in variants:
            save_file(tensors, tmp_path / "w.safetensors")
            digests.append(tensors_digest(tmp_path / "w.safetensors"))
            assert tensors_digest(tmp_path / "w.safetensors") == digests[-1]
        assert len(set(digests)) == len(variants)

    def test_the_split_between_two_tensors_counts(self, tmp_path: Path) -> None:
        digests = set()
        for cut in (1, 2):
            values = torch.tensor([1.0, 2.0, 3.0])
            save_file({"a": values[:cut].clone(), "b": values[cut:].clone()}, tmp_path / "w.safetensors")
            digests.add(tensors_digest(tmp_path / "w.safetensors"))
        assert len(digests) == 2

    def test_a_broken_or_missing_file_is_refused(self, saved: Path) -> None:
        saved.write_bytes(saved.read_bytes()[:-1])
        with pytest.raises(ValueError, match=r"encoder.safetensors cannot be read, expected a whole safetensors file"):
            tensors_digest(saved)
        saved.unlink()
        with pytest.raises(ValueError, match=r"encoder.safetensors cannot be read, expected a whole safetensors file"):
            tensors_digest(saved)


class TestRefusals:
    @pytest.mark.parametrize("suffix", [".safetensors", ".json"])
    def test_a_missing_file(self, saved: Path, suffix: str) -> None:
        saved.with_suffix(suffix).unlink()
        with pytest.raises(FileNotFoundError, match=rf"encoder\{suffix} is missing: train the network"):
            load_network(VoiceEncoder, saved)

    @pytest.mark.parametrize("keep", [0, 4, 100, -1])
    def test_truncated_weights(self, saved: Path, keep: int) -> None:
        saved.write_bytes(saved.read_bytes()[:keep])
        with pytest.raises(
            ValueError, match=r"encoder.safetensors cannot be read, expected a whole safetensors file.*again"
        ):
            load_network(VoiceEncoder, saved)

    @pytest.mark.parametrize(
        "text", ["", "{", "[1]", '{"dimensions": {}}', '{"network": "VoiceEncoder", "dimensions": 3}']
    )
    def test_a_broken_json(self, saved: Path, text: str) -> None:
        saved.with_suffix(".json").write_text(text)
        with pytest.raises(ValueError, match=r"encoder.json cannot be read, expected"):
            load_network(VoiceEncoder, saved)

    @pytest.mark.parametrize("depth", [10, 900, 980, 100_000])
    def test_a_deeply_nested_json(self, saved: Path, depth: int) -> None:
        nested = "[" * depth + "]" * depth
        saved.with_suffix(".json").write_text(f'{{"network": "VoiceEncoder", "dimensions": {{"depth": {nested}}}}}')
        with pytest.raises(ValueError, match=r"encoder.json cannot be read, expected .* again$") as error:
            load_network(VoiceEncoder, saved)
        assert len(str(error.value)) < 500 + len(str(saved))

    def test_a_pickle_is_not_executed(self, saved: Path, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple:
                return os.mkdir, (str(tmp_path / "executed"),)

        saved.write_bytes(pickle.dumps(Evil()))
        with pytest.raises(ValueError, match="cannot be read, expected a whole safetensors file"):
            load_network(VoiceEncoder, saved)
        torch.save({"fc2.weight": torch.zeros(1)}, saved)
        with pytest.raises(ValueError, match="cannot be read, expected a whole safetensors file"):
            load_network(VoiceEncoder, saved)
        assert not (tmp_path / "executed").exists()

    def test_another_network(self, saved: Path) -> None:
        with pytest.raises(ValueError, match=r"encoder.json is of a VoiceEncoder, expected a FaceDecoder"):
            load_network(FaceDecoder, saved)

    def test_foreign_safetensors(self, saved: Path) -> None:
        save_file({"weight": torch.zeros(3)}, saved)
        with pytest.raises(ValueError, match="do not belong together"):
            load_network(VoiceEncoder, saved)

    def test_files_of_two_saves(self, saved: Path, tmp_path: Path) -> None:
        wider = DIMENSIONS | {"hidden_dim": 8}
        save_network(VoiceEncoder(**wider), tmp_path / "wider", **wider)
        os.replace(tmp_path / "wider.json", saved.with_suffix(".json"))  # noqa: PTH105
        with pytest.raises(ValueError, match=r"encoder.safetensors and encoder.json do not belong together"):
            load_network(VoiceEncoder, saved)

    def test_stored_shapes_are_checked_whatever_the_dimensions_say(self, saved: Path) -> None:
        """Also for dimensions that no memory would hold."""
        description = saved.with_suffix(".json").read_text()
        for text, message in (
            (description, r"fc2.weight is \[6, 7\], expected \[5, 7\]"),
            (
                description.replace('"hidden_dim": 7', '"hidden_dim": 700000000'),
                r"fc1.bias is \[7\], expected \[700000000\]",
            ),
        ):
            tensors = load_file(saved)
            tensors["fc2.weight"] = torch.zeros(6, 7)
            save_file(tensors, saved, metadata={"network": text})
            saved.with_suffix(".json").write_text(text)
            with pytest.raises(ValueError, match=rf"encoder.safetensors: {message}.*use the dimensions"):
                load_network(VoiceEncoder, saved)

    @pytest.mark.parametrize(
        ("change", "message"), [("add", "extra is .*no such tensor"), ("drop", "fc2.bias is missing")]
    )
    def test_tensors_too_many_or_too_few(self, saved: Path, change: str, message: str) -> None:
        tensors = load_file(saved)
        if change == "add":
            tensors["extra"] = torch.zeros(1)
        else:
            del tensors["fc2.bias"]
        save_file(tensors, saved, metadata={"network": saved.with_suffix(".json").read_text()})
        with pytest.raises(ValueError, match=message):
            load_network(VoiceEncoder, saved)

    def test_nan_weights(self, saved: Path) -> None:
        tensors = load_file(saved)
        tensors["fc1.bias"][3] = float("nan")
        save_file(tensors, saved, metadata={"network": saved.with_suffix(".json").read_text()})
        with pytest.raises(ValueError, match=r"encoder.safetensors: fc1.bias holds NaN"):
            load_network(VoiceEncoder, saved)
