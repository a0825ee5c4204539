from pathlib import Path

import pytest

from speech2face.pipeline.params import load_params

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text()


def load(tmp_path: Path, *changes: tuple[str, str]):
    text = TEXT
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return load_params(path)


def refused(tmp_path: Path, *changes: tuple[str, str]) -> str:
    with pytest.raises(ValueError) as error:
        load(tmp_path, *changes)
    return str(error.value)


def test_the_repositorys_file_is_valid():
    params = load_params(ROOT / "params.yaml")
    assert params.lr == 0.0004
    assert params.encoder.weights.distill == 200


def test_a_number_in_exponent_form_without_a_point_is_a_number(tmp_path):
    # What `dvc exp run -S lr=0.00001` writes; PyYAML reads it as text.
    assert load(tmp_path, ("lr: 0.0004", "lr: 1e-05")).lr == 1e-5


def test_a_misspelt_key_is_answered_with_the_valid_ones(tmp_path):
    message = refused(tmp_path, ("  margin: 0.35", "  margn: 0.35"))
    assert "faces.margn is not a parameter (did you mean margin?)" in message
    assert "upsample" in message
    assert "faces.margin is missing" in message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lr: 0.0004", "lr: fast", ["lr", "number", "'fast'"]),
        ("lr: 0.0004", "lr: 0", ["lr", "greater than 0"]),
        ("lr: 0.0004", "lr: .nan", ["lr", "finite"]),
        ("seed: 0", "seed: 1.5", ["seed", "integer", "1.5"]),
        ("max_reject_fraction: 0.2", "max_reject_fraction: 20", ["max_reject_fraction", "less than or equal to 1"]),
        ("source: synthetic", "source: voxceleb9", ["corpus.source", "'synthetic'", "'voxceleb9'"]),
        ("val: 0.1", "val: 0.9", ["corpus.splits", "below 1"]),
        ("root: null", "root: /somewhere", ["corpus", "null", "synthetic"]),
        ("crop_frames: 261", "crop_frames: 258", ["encoder.crop_frames", "259"]),
        ("time_frames: 0", "time_frames: 259", ["encoder.spec_augment.time_frames", "258"]),
        ("patience: null", "patience: 0", ["encoder.patience", "greater than or equal to 1"]),
        ("texture: resize", "texture: gan", ["decoder.texture", "'cnn', 'linear' or 'resize'"]),
        ("min_clip_s: 1.0", "min_clip_s: 7.0", ["audio", "at most segment_s, 6"]),
        ("stored: spectrogram", "stored: flac", ["audio.stored", "'spectrogram' or 'waveform'", "'flac'"]),
        ("upsample: 0", "upsample: 3", ["faces", "5792", "10240"]),
        ("upsample: 0", "upsample: true", ["faces.upsample", "integer"]),
        ("samples_per_pixel: 4", "samples_per_pixel: 6", ["samples_per_pixel", "square number", "4, 9 or 16"]),
        ("second_opinion: null", "second_opinion: true", ["evaluation.second_opinion", "string"]),
    ],
)
def test_wrong_types_and_values_out_of_range_name_key_value_and_bound(tmp_path, old, new, words):
    message = refused(tmp_path, (old, new))
    for word in words:
        assert word in message


def test_every_mistake_has_its_line(tmp_path):
    assert len(refused(tmp_path, ("lr: 0.0004", "lr: x"), ("seed: 0", "seed: y")).splitlines()) == 2


def test_what_is_not_a_parameter_file(tmp_path):
    path = tmp_path / "params.yaml"
    with pytest.raises(ValueError, match="does not exist"):
        load_params(path)
    path.write_text("lr: [1,")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_params(path)
    path.write_text("")
    with pytest.raises(ValueError, match="must be"):
        load_params(path)
