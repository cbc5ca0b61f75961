"""Similarity matrices: a folder with `rdm.npy` and `pictures.txt`."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.human.sources import Source
from benchmarks.human.tables import Dissimilarities
from dreamsim_metric.judgements.rows import Judgement, assemble


def read_matrix(root: Path) -> Dissimilarities:
    """Read dissimilarities of all pairs of some pictures.

    Args:
        root: folder with `pictures.txt`, a path a line relative to the folder, and `rdm.npy`, float `(N, N)` or `(R, N,
            N)` for R raters in the order of the lines: symmetric, larger the more different, NaN where a pair was not
            rated. For similarities, `similarity.npy` in place of `rdm.npy`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a wrong shape, or a matrix that is not symmetric.
    """
    name = "similarity.npy" if (root / "similarity.npy").is_file() else "rdm.npy"
    for file in (root / name, root / "pictures.txt"):
        if not file.is_file():
            raise FileNotFoundError(f"no such file: {file}; expected rdm.npy (or similarity.npy) and pictures.txt")
    pictures = [line.strip() for line in (root / "pictures.txt").read_text(encoding="utf-8").splitlines()]
    pictures = [line for line in pictures if line]
    try:
        matrices = np.asarray(np.load(root / name, allow_pickle=False), dtype=np.float64)
    except Exception as error:  # damaged files raise ValueError, EOFError, BadZipFile and more
        raise ValueError(f"{root / name} is not a NumPy array of numbers ({error})") from error
    matrices = matrices[None] if matrices.ndim == 2 else matrices
    n = len(pictures)
    if matrices.ndim != 3 or matrices.shape[1:] != (n, n) or n < 3:
        raise ValueError(
            f"{root / name} has shape {matrices.shape}; expected (N, N) or (R, N, N) for the {n} lines of "
            "pictures.txt, at least 3"
        )
    if not np.allclose(matrices, matrices.transpose(0, 2, 1), equal_nan=True):
        raise ValueError(f"{root / name} is not symmetric; average it with its transpose if both orders were rated")
    return assemble(Dissimilarities, root, _list_rows(root, pictures, -matrices if name[0] == "s" else matrices))


def _list_rows(root: Path, pictures: list[str], matrices: np.ndarray) -> Iterator[Judgement | str]:
    for i, j in combinations(range(len(pictures)), 2):
        ratings = matrices[:, i, j]
        if np.isnan(ratings).all():
            continue
        paths = str(root / pictures[i]), str(root / pictures[j])
        votes = int(np.count_nonzero(~np.isnan(ratings)))
        yield Judgement(f"pictures {i + 1} and {j + 1}", paths, ratings, f"{i}-{j}", votes)


SOURCES = {
    "matrix": Source(
        title="",
        kind="all pairs of some pictures, rated by one or more people (RDM)",
        read=lambda root: [read_matrix(root)],
        fits=lambda root: (root / "pictures.txt").is_file(),
        splits=("test",),
        get="your own: pictures.txt, a path a line, and rdm.npy or similarity.npy, (N, N) or (raters, N, N)",
    )
}
