"""How much each voice encoder learns from how many people: 1,000 synthetic speakers, of whom some 200 test.

    cp presets/benchmark.yaml params.yaml
    dvc repro segment_audio embed_voices train_decoder
    python benchmarks/learning_curves.py [--people 50 100 200 400 700] [--out results/benchmark]

Trains the published network, the small network on all speaker networks' embeddings side by side, and linear regressions from each of
these and from the mean spectrogram, each from the same people, and ranks the same test speakers. Validation speakers, decoder and its
settings are the same for all. The published network's loss looks through a decoder that has seen the faces, but no voice, of all training
speakers. Writes learning_curves.csv and learning_curves.png after each size, beside the rows that are there.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from speech2face.corpus.manifest import MANIFEST_NAME, read_manifest
from speech2face.corpus.splits import read_splits
from speech2face.evaluation.faces import read_faces
from speech2face.evaluation.loading import attribute_table
from speech2face.evaluation.networks import predict_test_clips
from speech2face.evaluation.voices import describe_embeddings, describe_voices
from speech2face.measures.aligned import Aligned, align
from speech2face.measures.baselines import predict_baselines
from speech2face.measures.inputs import Faces, Inputs
from speech2face.measures.ranking import matched, rank_among_speakers, recall_table, row_values
from speech2face.measures.retrieval import percent_to_k
from speech2face.measures.statistics import mean, resample_speakers
from speech2face.measures.views import Features
from speech2face.models.encoders import Encoder
from speech2face.models.face_decoder import FaceDecoder
from speech2face.models.head import fit_head_of_table
from speech2face.models.weight_files import load_network
from speech2face.pipeline.machine import device
from speech2face.pipeline.params import Params, load_params
from speech2face.pipeline.provenance import stable_fraction
from speech2face.pipeline.shards import read_columns
from speech2face.speaker_networks.backends import embedding_dim
from speech2face.speaker_networks.table import table_weights
from speech2face.training.encoder import EncoderInputs, encoder_task
from speech2face.training.loop import State, Task, epochs
from speech2face.training.pairs import Pairs, Targets, read_targets
from speech2face.training.speaker_encoder import build_speaker_encoder

DATA, MODELS = Path("data"), Path("models")
LEFT_OUT = "left out"


def only(splits: Mapping[str, str], people: int) -> dict[str, str]:
    """The splits with `people` training speakers left, by a hash of their names: the same ones are among every greater number."""
    training = sorted(
        (s for s in splits if splits[s] == "train"), key=lambda speaker: stable_fraction(f"curve {speaker}")
    )
    if people > len(training):
        raise SystemExit(f"{people} people are asked for and there are {len(training)} training speakers")
    return {**splits, **dict.fromkeys(training[people:], LEFT_OUT)}


def without_left_out(faces: Faces) -> Faces:
    """The faces of the speakers who train, validate or test."""
    rows = [row for row, split in enumerate(faces.splits) if split != LEFT_OUT]
    names = ([column[row] for row in rows] for column in (faces.face_ids, faces.speaker_ids, faces.splits))
    return Faces(*names, faces.features[rows])


def trained(task: Task, seed: int) -> Encoder:
    """The network of the best epoch."""
    for steps in epochs(task, State(), seed, lambda: None):
        for _ in steps:
            pass
    return task.network


def published(params: Params, splits: Mapping[str, str]) -> tuple[Encoder, Path]:
    """The network of Oh et al. 2019, and the table that it hears."""
    targets = read_targets(DATA / "features", splits, params.encoder.target)
    head = fit_head_of_table(DATA / "features", splits, params.features.head_l2)
    decoder = load_network(FaceDecoder, MODELS / "decoder" / "decoder")
    inputs = EncoderInputs(DATA / "spectrograms", targets, decoder.f_dec, head)
    task = encoder_task(params.encoder, params.lr, params.seed, inputs, device())
    return trained(task, params.seed), DATA / "spectrograms"


def speaker_embedding(params: Params, splits: Mapping[str, str]) -> tuple[Encoder, Path]:
    """The small network on what all speaker networks of the table say, and the table."""
    task = build_speaker_encoder(
        data=DATA,
        splits=splits,
        target=params.encoder.target,
        settings=params.encoder.speaker_embedding,
        seed=params.seed,
        device=device(),
    )
    return trained(task, params.seed), DATA / "embeddings"


NETWORKS = {"published network": published, "speaker_embedding": speaker_embedding}


def voices_of(targets: Targets) -> dict[str, pd.DataFrame]:
    """What linear regressions hear: the mean spectrogram, and each speaker network's embedding."""
    found = {"mean spectrogram": describe_voices(DATA / "spectrograms", targets)["mean_spectrogram"]}
    embeddings, start = describe_embeddings(DATA / "embeddings", targets), 0
    for name in table_weights(DATA / "embeddings"):
        found[name] = embeddings.iloc[:, start : start + embedding_dim([name])]
        start += embedding_dim([name])
    return found


def systems(
    params: Params, splits: Mapping[str, str], voices: Mapping[str, pd.DataFrame], networks: Sequence[str]
) -> Iterator[tuple[str, Aligned, Features, float]]:
    """Name, truth, predictions [N, D] of the test clips and processor seconds of training of each system; `voices` as of `voices_of`."""
    targets = read_targets(DATA / "features", splits, params.encoder.target)
    faces = without_left_out(read_faces(DATA / "features", splits))
    attributes = attribute_table(read_manifest(DATA / "corpus" / MANIFEST_NAME))
    for name in networks:
        start = time.process_time()
        encoder, heard = NETWORKS[name](params, splits)
        seconds = time.process_time() - start
        clip_ids, predicted = predict_test_clips(
            encoder, Pairs(heard, targets, "test"), params.audio.segment_s, device()
        )
        inputs = Inputs(clip_ids, predicted, faces, attributes)
        yield name, (aligned := align(inputs)), next(iter(predicted.values())), seconds
    for name, table in voices.items():
        start = time.process_time()
        found = predict_baselines(replace(inputs, voices={"voice": table}), aligned)
        yield f"linear regression, {name}", aligned, found["ridge_voice"], time.process_time() - start


def row(name: str, people: int, clips: int, aligned: Aligned, predicted: Features, params: Params) -> dict[str, object]:
    """What the table says of one system."""
    found = rank_among_speakers(aligned, predicted)
    bootstrap = resample_speakers(aligned.clips, params.evaluation, params.seed)
    line: dict[str, object] = {"system": name, "people": people, "clips": clips, "test_people": len(aligned.speakers)}
    for measure, values in {
        "recall_at_10_percent": row_values(found, lambda size: recall_table(percent_to_k(10, size), size)),
        "one_of_two": matched(found, 2),
    }.items():
        estimate = bootstrap.estimate(mean(values))
        line |= {measure: estimate["value"], f"{measure}_low": estimate["low"], f"{measure}_high": estimate["high"]}
    return line


def write(table: pd.DataFrame, folder: Path) -> None:
    """The table with the rows that are in the folder already, and its picture."""
    path = folder / "learning_curves.csv"
    if path.is_file():
        table = pd.concat([pd.read_csv(path), table])
    order = [*NETWORKS, *dict.fromkeys(table["system"])]
    table = table.drop_duplicates(["system", "people"], keep="last")
    table = table.sort_values(
        ["people", "system"], key=lambda column: column if column.name == "people" else column.map(order.index)
    )
    table.to_csv(path, index=False, float_format="%.4g")
    draw(table, folder / "learning_curves.png")


def draw(table: pd.DataFrame, path: Path) -> None:
    """One of two faces against the number of people, a line a system with its intervals."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for shift, (name, part) in enumerate(table.groupby("system", sort=False)):
        below, above = part["one_of_two"] - part["one_of_two_low"], part["one_of_two_high"] - part["one_of_two"]
        style = "--" if str(name).startswith("linear") else "-"
        people = part["people"] * 1.02 ** (shift - 2)  # so that intervals do not cover each other
        axes.errorbar(people, part["one_of_two"], [below, above], label=name, marker="o", linestyle=style, capsize=3)
    axes.axhline(0.5, color="grey", linewidth=1)
    axes.annotate("chance", (table["people"].min(), 0.505), color="grey")
    axes.set(xscale="log", xlabel="people to learn from", ylabel="one of two faces")
    axes.set_xticks(sorted(set(table["people"])), labels=[str(n) for n in sorted(set(table["people"]))])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--people", type=int, nargs="+", default=[50, 100, 200, 400, 700], help="default: 50 100 200 400 700"
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=list(NETWORKS),
        default=list(NETWORKS),
        help="networks to train; default: all. The published one takes nearly all of the time",
    )
    parser.add_argument("--out", type=Path, default=Path("results/benchmark"), help="default: %(default)s")
    arguments = parser.parse_args()
    params, lines = load_params(), []
    voices = voices_of(read_targets(DATA / "features", read_splits()))
    arguments.out.mkdir(parents=True, exist_ok=True)
    speakers = read_columns(DATA / "spectrograms", ["speaker_id"])["speaker_id"].to_pylist()
    for people in arguments.people:
        splits = only(read_splits(), people)
        clips = sum(splits[speaker] == "train" for speaker in speakers)
        for name, aligned, predicted, seconds in systems(params, splits, voices, arguments.networks):
            lines.append(row(name, people, clips, aligned, predicted, params) | {"training_cpu_s": seconds})
            print(
                " ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in lines[-1].values()),
                flush=True,
            )
        write(pd.DataFrame(lines), arguments.out)


if __name__ == "__main__":
    main()
