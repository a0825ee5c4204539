"""Write a file with the layout and full size (580 MB) of vgg_face_dag.pth and seeded random weights, for timings and tests.

    python benchmarks/make_vgg_face_weights.py vgg_face_random.pth

The features mean nothing, but their size is realistic. Weights are drawn as in He et al. (2015, equation 10), which keeps
the scale from layer to layer. The first layer scales pixels (a spread of about 64) to 1.
"""

import argparse
from pathlib import Path

import torch

from speech2face.face_networks.vgg_face import VggFace

PIXEL_SPREAD = 64.0


def random_state(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in VggFace().state_dict().items()}
    state = {}
    for name, shape in shapes.items():
        if name.endswith(".bias"):
            state[name] = torch.zeros(shape)
            continue
        std = (2 / shape[1:].numel()) ** 0.5
        state[name] = torch.empty(shape).normal_(0, std, generator=generator)
    state["conv1_1.weight"] /= PIXEL_SPREAD
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="file to write, best outside the repository")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    partial = arguments.path.with_name(arguments.path.name + ".part")
    torch.save(random_state(arguments.seed), partial)
    partial.replace(arguments.path)
    print(f"{arguments.path}: {arguments.path.stat().st_size:,} bytes, seed {arguments.seed}")


if __name__ == "__main__":
    main()
