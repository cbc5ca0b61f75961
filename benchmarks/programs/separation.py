"""How well embeddings tell subjects apart: DreamBench's, or any folder with a subfolder of pictures a subject.

    python -m benchmarks.programs.separation dreambench/dataset --model mini timm:mobilenetv2_100#pooled \
        --weights timm:mobilenetv2_100#pooled=mobilenetv2.safetensors

Prints for each model the share of pictures whose nearest neighbour shows the same subject, and the area under the ROC
curve of "same subject" against distance, over all pairs of pictures.
"""

from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from dreamsim_metric import load
from dreamsim_metric.commands.options import add_option
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.files.pictures import list_pictures
from dreamsim_metric.scale.embedding import Options
from dreamsim_metric.scale.scoring import embed_files


def tell_apart(units: np.ndarray, subjects: np.ndarray) -> tuple[float, float]:
    """Compute in percent how many nearest neighbours are of the same subject, and the AUC of distances.

    Args:
        units: unit embeddings `(N, D)`.
        subjects: names of the subjects, `(N,)`.
    """
    similarity = units @ units.T
    same = subjects[:, None] == subjects
    others = ~np.eye(len(units), dtype=bool)
    nearest = np.where(others, similarity, -np.inf).argmax(1)
    pairs = np.triu(others)
    return 100 * float((subjects[nearest] == subjects).mean()), float(roc_auc_score(same[pairs], similarity[pairs]))


def main() -> None:
    """Run the program."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with a subfolder of pictures a subject")
    add_option(parser, "--model", nargs="+", default=["mini"], help="models, as `load` takes them")
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="MODEL=FILE",
        help="weights of a model on this disk, in place of a download; repeat for more",
    )
    arguments = parser.parse_args()
    sources = dict(item.split("=", 1) for item in arguments.weights)
    found = {folder.name: list_pictures(folder) for folder in sorted(arguments.folder.glob("[!.]*/"))}
    files = [file for inside in found.values() for file in inside]
    subjects = np.array([name for name, inside in found.items() for _ in inside])
    if len(set(subjects)) < 2 or len(files) == len(set(subjects)):
        raise SystemExit(
            f"{arguments.folder} has {len(files)} pictures of {len(set(subjects))} subjects; "
            "expected a subfolder of pictures for each of two subjects or more, two pictures of one at least"
        )
    print(f"{len(files)} pictures of {len(set(subjects))} subjects")
    for model in arguments.model:
        embedded = embed_files(files, load(model, source=sources.get(model)), options=Options(progress=True))
        if embedded.unreadable:
            raise SystemExit("\n".join(embedded.unreadable.values()))
        nearest, auc = tell_apart(embedded.units.numpy(), subjects)
        print(f"{model}: nearest neighbour {nearest:.1f} %, AUC {auc:.4f}")


if __name__ == "__main__":
    main()
