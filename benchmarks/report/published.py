"""Figures that others published, each of its own models and photographs: to be seen beside ours, not ranked with them.

Values that could not be confirmed are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.personalization.protocols import DREAMBENCH


@dataclass(frozen=True)
class Published:
    """A table of a paper.

    Attributes:
        title: title that says what it is about.
        source: citation of the paper, and which of its tables.
        note: remarks on the models and data, and how the figures came here.
        protocol: protocol of ours that defines the same scores; empty where none does.
        columns: scores, as that protocol calls them.
        rows: values by model, in the order of the columns; empty texts where there are none.
    """

    title: str
    source: str
    note: str
    protocol: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]


_RUIZ = "Ruiz et al. DreamBooth: Fine Tuning Text-to-Image Diffusion Models for Subject-Driven Generation. CVPR 2023"
_COPIED = "The figures are from copies of the table, not from the paper's own pages"

PUBLISHED = (
    Published(
        "DreamBench: subject and prompt fidelity",
        f"{_RUIZ}, table 1",
        f"30 subjects of DreamBench; Imagen and Stable Diffusion. {_COPIED}; three copies agree.",
        DREAMBENCH,
        ("DINO", "CLIP-I", "CLIP-T"),
        {
            "real photographs": ("0.774", "0.885", ""),
            "DreamBooth, Imagen": ("0.696", "0.812", "0.306"),
            "DreamBooth, Stable Diffusion": ("0.668", "0.803", "0.305"),
            "Textual Inversion, Stable Diffusion": ("0.569", "0.780", "0.255"),
        },
    ),
    Published(
        "DreamBench: prior preservation",
        f"{_RUIZ}, table 3",
        f"15 subjects; Imagen. PRES: lower is better. {_COPIED}.",
        DREAMBENCH,
        ("PRES", "DIV", "DINO", "CLIP-I", "CLIP-T"),
        {
            "DreamBooth with the prior-preservation loss": ("0.493", "0.391", "0.684", "0.815", "0.308"),
            "DreamBooth without it": ("0.664", "0.371", "0.712", "0.828", "0.306"),
        },
    ),
    Published(
        "DreamBench++: judged by GPT-4o",
        "Peng et al. DreamBench++: A Human-Aligned Benchmark for Personalized Image Generation. ICLR 2025",
        "150 photographs, 9 prompts each; 0 to 1. No score of this page is the same: those called DreamBench++ above "
        f"are cosines. {_COPIED}; those that could not be confirmed are left out.",
        "",
        ("prompt following", "concept preservation", "product"),
        {
            "DreamBooth, Stable Diffusion 1.5": ("0.721", "0.494", "0.356"),
            "DreamBooth LoRA, SDXL": ("0.865", "0.598", "0.517"),
            "Textual Inversion, Stable Diffusion 1.5": ("0.624", "", ""),
            "BLIP-Diffusion": ("0.495", "", ""),
            "Emu2": ("0.690", "", ""),
            "IP-Adapter-Plus ViT-H": ("0.413", "", ""),
            "IP-Adapter ViT-G": ("0.640", "", ""),
        },
    ),
)
