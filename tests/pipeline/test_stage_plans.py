"""The shards that stages plan from a manifest, against all its rows as dictionaries, grouped and digested over again."""

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from speech2face.corpus.clips import Clip
from speech2face.corpus.digests import FileDigest
from speech2face.corpus.manifest import CORPUS, MANIFEST_NAME, write_manifest
from speech2face.pipeline.params import Params, load_params
from speech2face.why import stage_script
from tests.corpus.trees import manifest_of

ROOT = Path(__file__).parents[2]
PER_SHARD = 6
AUDIO = ("clip_id", "speaker_id", "audio_path", "audio_sha256", "audio_bytes", "start_s", "end_s")
VIDEO = ("clip_id", "speaker_id", "video_path", "video_sha256", "video_bytes", "start_s", "end_s", "face_x", "face_y")


def clip(number: int) -> Clip:
    """Of five clips one has no sound, one a video, one neither; others share the pictures of their video, whose name may be how that of
    another begins."""
    speaker = f"s{number // 12:04d}"
    video = f"{speaker}/{('take', 'take 2', 'take-2')[number // 4 % 3]}"
    kind = number % 5
    pictures = tuple(f"p/{video}/{n}.jpg" for n in range(4)) if kind < 3 else ()
    start_s = number / 3 if kind == 2 else None
    film = f"v/{number}.mp4" if kind == 3 else None
    return Clip(f"{video}/{number:05d}", speaker, None if kind == 1 else f"a/{number}.wav", pictures, film, start_s)


def write(work: Path, num_clips: int) -> list[dict[str, Any]]:
    clips = [clip(number) for number in range(num_clips)]
    names = {name for c in clips for name in (c.audio_path, c.video_path, *c.image_paths) if name}
    digests = {name: FileDigest(hashlib.sha256(name.encode()).hexdigest(), len(name)) for name in names}
    table = manifest_of(clips, digests, {})
    (work / CORPUS).mkdir(parents=True, exist_ok=True)
    parts = [table.slice(start, 1000) for start in range(0, num_clips, 1000)]
    write_manifest(work / CORPUS / MANIFEST_NAME, parts, table.schema)
    return table.to_pylist()


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Parameters of small shards; the stages are those of the repository, the data of the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    whole = load_params(ROOT / "params.yaml")
    return whole.model_copy(update={"corpus": whole.corpus.model_copy(update={"clips_per_shard": PER_SHARD})})


def cut(rows: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Digests of rows by their names, shard by shard."""
    shards: list[list[str]] = []
    for name in sorted(rows):
        fraction = int.from_bytes(hashlib.sha256(f"cut {name}".encode()).digest()[:8], "big") / 2**64
        num = len(shards[-1]) if shards else 2 * PER_SHARD
        if num >= 2 * PER_SHARD or (2 * num >= PER_SHARD and fraction < 2 / PER_SHARD):
            shards.append([])
        text = json.dumps(rows[name], sort_keys=True, separators=(",", ":"))
        shards[-1].append(hashlib.sha256(text.encode()).hexdigest()[:16])
    return shards


def heard(manifest: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: {name: row[name] for name in AUDIO} for row in manifest if row["audio_path"]}


def seen(manifest: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    rows = {}
    for row in manifest:
        video = row["clip_id"].rpartition("/")[0]
        if row["image_paths"] and video not in rows:
            columns = (row[name] for name in ("image_paths", "image_sha256", "image_bytes"))
            pictures = [list(picture) for picture in zip(*columns, strict=True)]
            rows[video] = {"clip_id": row["clip_id"], "speaker_id": row["speaker_id"], "pictures": pictures}
        elif row["video_path"]:
            rows[row["clip_id"]] = {name: row[name] for name in VIDEO}
    return rows


@pytest.mark.parametrize(("stage", "truth"), [("segment_audio", heard), ("crop_faces", seen)])
def test_shards_are_those_of_all_rows_at_once(tmp_path: Path, params: Params, stage: str, truth: Any):
    manifest = write(tmp_path, 2500)
    plan = stage_script(stage).plan(params)
    expected = cut(truth(manifest))
    assert len(expected) > 50
    for _ in range(2):  # anew each time
        assert [plan.ingredients(rows)["rows"] for rows in plan.shards()] == expected


@pytest.mark.parametrize("stage", ["segment_audio", "crop_faces"])
def test_a_manifest_of_four_times_the_clips_is_planned_in_the_same_memory(tmp_path: Path, params: Params, stage: str):
    peaks = []
    for num_clips in (100, 1500, 6000):  # once to load what is loaded once
        write(tmp_path, num_clips)
        plan = stage_script(stage).plan(params)
        tracemalloc.start()
        assert sum(1 for _ in plan.shards()) > num_clips / 50
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]
