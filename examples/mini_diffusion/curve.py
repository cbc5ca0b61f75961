"""The losses of the two trainings, as a picture.

python -m examples.mini_diffusion.curve AUTOENCODER DIFFUSION OUT.png
"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure


def main(runs: list[Path], out: Path) -> None:
    """Draw `log.jsonl` of each run: the mean loss of every 100 steps."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, run in zip(figure.subplots(1, len(runs)), runs, strict=True):
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        axes.plot([line["step"] + 1 for line in lines], [line["loss"] for line in lines])
        axes.set(title=run.name, xlabel="step", ylabel="loss")
    figure.savefig(out, dpi=80)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:-1]], Path(sys.argv[-1]))
