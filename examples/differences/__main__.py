"""Where two tools of this field give two numbers: `docs/differences.md`, computed with the versions that are installed.

python -m examples.differences [--out docs/differences.md]

Of the dev extra, most lines run. For all: pip install choix einops evalica kornia lycoris-lora
opencv-python-headless prdc pytorch-msssim scikit-image sewar simpledorff tifffile
"""

import argparse
import sys
import warnings
from pathlib import Path

from dreamsim_metric.files.write import write_file
from examples.differences.page import make_page


def main(arguments: list[str] | None = None) -> None:
    """Print the page, or write it; name what was not run on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.differences", description="Why two tools' numbers differ."
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write instead of printing")
    out = parser.parse_args(arguments).out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about their own insides
        made, missing = make_page()
    for tool, module in missing.items():
        print(f"skipped: {tool}: {module} is not installed", file=sys.stderr)
    if out:
        write_file(out, made.encode())
    else:
        print(made)


if __name__ == "__main__":
    main()
