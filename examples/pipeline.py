"""From a text-to-image model to a tuned metric, by the commands that one would type, with simulated raters.

    python -m examples.pipeline OUT [--model MODEL] [--categories LIST] [--triplets 40] [--raters 30]

The raters are a model of noisy observers who see with mini's eyes (`data_tools.simulation`): what comes out shows that
the parts fit together, and nothing about people.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from data_tools.serving import free_port, start


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
    port = free_port()
    server = start(study, port)
    try:
        where = ("--url", f"http://127.0.0.1:{port}", "--raters", raters, "--noise", noise)
        run("data_tools.cli", "simulate", study, *where)
    finally:
        server.terminate()
        server.wait()
    run("data_tools.cli", "stats", study, "--out", out / "agreement.png")
    run("data_tools.cli", "export", study, "--out", data)
    run("data_tools.cli", "validate", data)
    run("dreamsim_metric.cli", "train", "mini", "--data", data, "--out", tuned, "--epochs", epochs)
    for judged in (tuned, "mini"):
        run("dreamsim_metric.cli", "evaluate", judged, "--data", data, "--split", "all")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="From a text-to-image model to a tuned metric, with simulated raters.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="mini-diffusion")
    parser.add_argument("--categories", default="mini-diffusion")
    parser.add_argument("--triplets", type=int, default=40)
    parser.add_argument("--raters", type=int, default=30)
    parser.add_argument("--noise", type=float, default=0.05, help="of the raters, in units of distance")
    parser.add_argument("--steps", type=int, default=30, help="of the scheduler")
    parser.add_argument("--epochs", type=int, default=2)
    main(**vars(parser.parse_args()))
