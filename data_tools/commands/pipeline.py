"""Options that name a text-to-image model, and what its name tells before diffusers is imported."""

import re
from collections.abc import Sequence
from pathlib import Path

from dreamsim_metric.commands.options import add_option, add_options
from dreamsim_metric.commands.parser import Parser

MINI = "mini-diffusion"
_PRECISIONS = ("float32", "float16", "bfloat16")


def add_pipeline(to: Parser, precision: str = "float16 on CUDA, else float32") -> None:
    """Add the options of a text-to-image model.

    Args:
        to: the command's parser.
        precision: the default of `--precision`, in words.
    """
    add_option(
        to,
        "--model",
        default=MINI,
        help="text-to-image model: mini-diffusion, a folder or file, or OWNER/NAME of the hub",
    )
    to.add_argument(
        "--with",
        dest="additions",
        action="append",
        default=[],
        metavar="PATH",
        help="what another trainer made for the model: a LoRA, learnt words, a UNet's folder or a one-file checkpoint; "
        "repeat for more",
    )
    to.add_argument("--revision", metavar="NAME", help="branch, tag or commit of the hub's repository")
    to.add_argument("--variant", metavar="NAME", help="variant of the weights' files, such as fp16")
    help_ = f"numbers that the networks compute with (default: {precision})"
    add_option(to, "--precision", choices=_PRECISIONS, default=None, help=help_)
    add_options(to, "--device")


def check_pipeline(name: str, additions: Sequence[str] = ()) -> None:
    """Be sure that a name can be a model's, and that what is added to it is there.

    Raises:
        FileNotFoundError: it is a folder's, and there is none, or no pipeline in it; no such addition.
    """
    for one in additions:
        if not Path(one).exists():
            raise FileNotFoundError(f"no such file or folder: {one}; expected what another trainer made (--with)")
    folder = Path(name)
    if folder.is_file():
        return
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            part = next((one for one in ("unet", "transformer") if (folder / one).is_dir()), "")
            todo = f"; it has only {part}/: name its pipeline as --model, and this folder as --with" if part else ""
            raise FileNotFoundError(
                f"{folder} has no model_index.json; expected a folder that diffusers' save_pretrained wrote{todo}"
            )
    elif name != MINI and not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name):
        raise FileNotFoundError(
            f"no such folder: {name}; expected mini-diffusion, a folder with a pipeline, or OWNER/NAME of the hub"
        )
