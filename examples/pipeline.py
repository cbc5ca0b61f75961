"""From a text-to-image model to a tuned metric, by the commands that one would type, with simulated raters.

    python -m examples.pipeline OUT [--model MODEL] [--categories LIST] [--triplets 40] [--raters 30]

The raters are a model of noisy observers who see with mini's eyes (`data_tools.simulation`): what comes out shows that
the parts fit together, and nothing about people.
"""

import subprocess
import sys
from pathlib import Path

from data_tools.serving import find_free_port, start
from dreamsim_metric.commands.parser import Parser


def run(module: str, *arguments: object) -> None:
    """Run a command of ours; what it prints is shown."""
    words = [str(argument) for argument in arguments]
    print(f"$ {'dreamsim-data' if module.startswith('data') else 'dreamsim-metric'} {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", module, *words], check=True)


def main(
    out: Path, model: str, categories: str, triplets: int, raters: int, noise: float, steps: int, epochs: int
) -> None:
    """Run the whole pipeline."""
    pictures, study, data, tuned = (out / name for name in ("pictures", "study", "data", "run"))
    made = ("--model", model, "--categories", categories, "--triplets", triplets, "--steps", steps)
    run("data_tools.cli", "generate", *made, "--out", pictures)
    run("data_tools.cli", "study", pictures, "--out", study, "--rounds", 2, 1, "--trials", 20, "--sentinel-every", 5)
    port = find_free_port()
    server = start(study, port)
    try:
        where = ("--url", f"http://127.0.0.1:{port}", "--raters", raters, "--noise", noise)
        run("data_tools.cli", "simulate", study, *where)
    finally:
        server.terminate()
        server.wait()
    run("data_tools.cli", "stats", study, "--out", out / "agreement.png")
    run("data_tools.cli", "collect", study, "--out", data)
    run("data_tools.cli", "validate", data)
    run("dreamsim_metric.cli", "train", "mini", "--data", data, "--out", tuned, "--epochs", epochs)
    for judged in (tuned, "mini"):
        run("dreamsim_metric.cli", "evaluate", "--model", judged, "--data", data, "--split", "all")


if __name__ == "__main__":
    parser = Parser(description="From a text-to-image model to a tuned metric, with simulated raters.")
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder for all that is made")
    add("--model", default="mini-diffusion", metavar="NAME", help="text-to-image model, as `generate` takes it")
    add("--categories", default="mini-diffusion", metavar="NAME", help="list of categories, as `generate` takes it")
    add("--triplets", type=int, default=40, metavar="N", help="triplets that are painted")
    add("--raters", type=int, default=30, metavar="N", help="raters who take part")
    add("--noise", type=float, default=0.05, metavar="N", help="noise of a decision, in units of distance")
    add("--steps", type=int, default=30, metavar="N", help="steps of the scheduler")
    add("--epochs", type=int, default=2, metavar="N", help="passes over the training triplets")
    main(**vars(parser.parse_args()))
