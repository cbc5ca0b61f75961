"""`mini` from the run that tuned it: between tuned and untuned, in float16, with its card.

    python -m examples.mini.finish RUN OUT

What training adds to a feature is scaled by `KEPT` (Wortsman et al. 2022, Robust fine-tuning of zero-shot models):
that keeps most of the agreement with people that was won, and what the untuned features know of single subjects.
"""

import sys
from dataclasses import replace
from pathlib import Path

from dreamsim_metric import load
from dreamsim_metric.weights.folder import write_folder

KEPT = 0.7


def main(run: str, out: str) -> None:
    metric = load(run)
    state = metric.state_dict()
    for name in ("head.fc2.weight", "head.fc2.bias"):
        state[name] *= KEPT
    state = {name: value.half() if value.ndim > 1 else value for name, value in state.items()}
    card = replace(
        metric.card,
        name="mini",
        description="MobileNetV2 with a small MLP behind its last feature map, tuned on people's choices between "
        "materials and between objects, and on views of photographs",
        base=(),
        base_sha256="",
        licence="backbone BSD-3-Clause (torchvision), trained on ImageNet-1k; head made from votes on materials "
        "(Lagunas et al. 2019, GPL-2.0), the VICE embedding (GPL-3.0) of THINGS choices (CC BY 4.0), ImageNet sample "
        "pictures, CC0 photographs of clothes; see LICENSE",
        citation=metric.card.citation
        + ". Lagunas et al. A Similarity Measure for Material Appearance. SIGGRAPH 2019. Muttenthaler et al. VICE: "
        "Variational Interpretable Concept Embeddings. NeurIPS 2022. Hebart et al. Revealing the multidimensional "
        "mental representations of natural objects. Nature Human Behaviour 2020",
        training=metric.card.training | {"head scaled by": KEPT, "data": "examples/mini/triplets.py"},
        agreement={},
        left=None,
        same=None,
    )
    write_folder(Path(out), card, state)


if __name__ == "__main__":
    main(*sys.argv[1:])
