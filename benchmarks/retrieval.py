"""Time and memory of ranks on a large gallery, against scikit-learn.

    python benchmarks/retrieval.py [--queries 5000] [--gallery 5000] [--dim 4096] [--metric cosine] [--other sklearn]

One run measures one implementation, so the peak of memory belongs to it alone. The features are mapped from files.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import pairwise_distances

from speech2face.measures.distances import METRICS
from speech2face.measures.retrieval import ranks

SKLEARN = {"cosine": "cosine", "l1": "manhattan", "l2": "euclidean"}
ROWS = 1000


def mapped(path: Path, rows: int, dim: int, seed: int) -> np.ndarray:
    """Random float32 features [rows, dim] in a file, written block by block."""
    rng = np.random.default_rng(seed)
    features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, dim))
    for start in range(0, rows, ROWS):
        block = features[start : start + ROWS]
        block[:] = rng.standard_normal(block.shape, np.float32)
    features.flush()
    return np.load(path, mmap_mode="r")


def sklearn_ranks(query: np.ndarray, gallery: np.ndarray, target: np.ndarray, metric: str) -> np.ndarray:
    """Ranks from scikit-learn's whole matrix of distances."""
    matrix = pairwise_distances(query.astype(np.float64), gallery.astype(np.float64), metric=SKLEARN[metric])
    return 1 + (matrix < matrix[np.arange(len(query)), target][:, None]).sum(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--gallery", type=int, default=5000)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--metric", choices=METRICS, default="cosine")
    parser.add_argument("--other", choices=["sklearn"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        gallery = mapped(Path(directory) / "gallery.npy", arguments.gallery, arguments.dim, 0)
        query = mapped(Path(directory) / "query.npy", arguments.queries, arguments.dim, 1)
        target = np.random.default_rng(2).integers(arguments.gallery, size=arguments.queries)
        started = time.perf_counter()
        found = (sklearn_ranks if arguments.other else ranks)(query, gallery, target, arguments.metric)
        seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = (
        f"{arguments.queries:,} queries, {arguments.gallery:,} entries, {arguments.dim} dimensions, {arguments.metric}"
    )
    print(
        f"{arguments.other or 'speech2face'}: {size}: {seconds:.1f} s, peak {peak_mb:,.0f} MiB, mean rank {found.mean():.3f}"
    )


if __name__ == "__main__":
    main()
