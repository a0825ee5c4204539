import json
from pathlib import Path

import pytest

from speech2face.estimate.rates import load, save, settings_of
from speech2face.pipeline.params import Params, load_params
from tests.estimate.made_up import made_up_rates


def changed(**sections: dict) -> Params:
    values = load_params().model_dump(mode="json")
    for name, keys in sections.items():
        values[name] |= keys
    return Params.model_validate(values)


def test_what_is_saved_is_read(tmp_path: Path):
    rates = made_up_rates()
    save(tmp_path / "rates.json", rates)
    assert load(tmp_path / "rates.json") == rates
    assert rates.differences(load_params(), rates.version) == []


def test_other_settings_are_named_and_numbers_of_the_run_are_not():
    rates = made_up_rates()
    wide = changed(encoder={"base_channels": 64}, audio={"stored": "waveform"})
    assert rates.differences(wide, rates.version) == [
        "audio.stored spectrogram -> waveform",
        "encoder.base_channels 8 -> 64",
    ]
    assert rates.differences(changed(encoder={"epochs": 99}, decoder={"epochs": 99}), rates.version) == []
    assert "corpus.pictures_per_video" in settings_of(load_params()) and "lr" not in settings_of(load_params())


def test_another_version_is_named():
    rates = made_up_rates()
    assert rates.differences(load_params(), "2.0")[0].startswith(f"version {rates.version} -> 2.0")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"machine": 1}', "\xff"])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, text: str):
    path = tmp_path / "rates.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="is no file of rates") as error:
        load(path)
    assert "\n" not in str(error.value) and "--save-rates" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"), [("numbers", {"x": "fast"}), ("common", {"code": {"seconds": 1}}), ("of_corpus", [])]
)
def test_damaged_entries_are_refused(tmp_path: Path, key: str, value: object):
    path = tmp_path / "rates.json"
    save(path, made_up_rates())
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match="is no file of rates"):
        load(path)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ValueError, match="does not exist; make one with"):
        load(tmp_path / "none.json")


def test_a_corpus_that_was_not_measured():
    with pytest.raises(ValueError, match="of voxceleb1 and not of avspeech"):
        made_up_rates().of("avspeech", "segment_audio")
