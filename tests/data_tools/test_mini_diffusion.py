"""mini-diffusion, the pipeline in the wheel: it loads as Stable Diffusion does, and paints what it is told."""

import diffusers
import numpy as np
import pytest
import torch

from data_tools.categories import read_categories
from data_tools.cli import main
from data_tools.generation import Config, generate
from data_tools.manifest import read_rows
from data_tools.pipelines import MINI_DIFFUSION, load_model
from dreamsim_metric import distance
from examples.mini_diffusion.pictures import CLOTHES, IMAGENET


@pytest.fixture(scope="module")
def pipeline():
    """As anybody would load it."""
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(MINI_DIFFUSION)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def paint(pipeline, prompt, seeds=range(4)):
    """Pixels (N, 64, 64, 3), uint8, one a seed."""
    noise = [torch.Generator().manual_seed(seed) for seed in seeds]
    images = pipeline([prompt] * len(noise), generator=noise, num_inference_steps=15).images
    return np.stack([np.asarray(image) for image in images])


def test_it_is_stable_diffusions_kind_and_small(pipeline):
    assert any(type(block).__name__ == "CrossAttnDownBlock2D" for block in pipeline.unet.down_blocks)
    kinds = {name: type(getattr(pipeline, name)).__name__ for name in ("text_encoder", "tokenizer", "unet", "vae")}
    assert kinds == {
        "text_encoder": "CLIPTextModel",
        "tokenizer": "CLIPTokenizer",
        "unet": "UNet2DConditionModel",
        "vae": "AutoencoderKL",
    }
    weights = sum(file.stat().st_size for file in MINI_DIFFUSION.rglob("*") if file.is_file())
    assert weights <= 14e6
    assert {file.suffix for file in MINI_DIFFUSION.rglob("*.*")} <= {".json", ".txt", ".safetensors", ".md", ""}


def test_its_categories_are_those_that_it_was_trained_on():
    assert read_categories("mini-diffusion") == [names[0] for names in (*IMAGENET.values(), *CLOTHES.values())]


def test_every_name_of_a_category_is_one_token_a_word(pipeline):
    for names in (*IMAGENET.values(), *CLOTHES.values()):
        for name in names:
            assert all(token.endswith("</w>") for token in pipeline.tokenizer.tokenize(name))


def test_colours_are_what_they_are_told_to_be(pipeline):
    middles = [
        paint(pipeline, f"a photo of a {shade} dress")[:, 20:44, 20:44].astype(float) for shade in ("red", "blue")
    ]
    red, blue = [(middle[..., 0] - middle[..., 2]).mean() for middle in middles]
    assert red > blue + 20


def test_seeds_give_different_pictures_of_one_prompt(pipeline):
    pictures = paint(pipeline, "an image of a pizza")
    assert min(distance(a, b) for i, a in enumerate(pictures) for b in pictures[:i]) > 0.05


def test_it_is_the_default_and_its_variations_grow_with_strength(tmp_path):
    torch.manual_seed(0)
    config = Config("mini-diffusion", ["pizza", "dress"], pairs=6, strengths=(0.2, 0.5, 0.9), steps=10)
    generate(config, tmp_path / "run", "cpu")
    rows = {(row["group"], row["strength"]): tmp_path / "run" / row["path"] for row in read_rows(tmp_path / "run")}
    means = [
        np.mean([distance(rows[group, None], rows[group, strength]) for group in range(6)])
        for strength in config.strengths
    ]
    assert means == sorted(means)
    assert means[2] > 2 * means[0]


def test_the_command_needs_no_model_and_no_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    given = ["generate", "--categories", "mini-diffusion", "--triplets", "1", "--steps", "2", "--device", "cpu"]
    assert main([*given, "--out", str(tmp_path / "run")]) == 0
    assert "1 triplets, 3 pictures" in capsys.readouterr().out
    rows = read_rows(tmp_path / "run")
    assert {row["model"] for row in rows} == {"mini-diffusion"}
    assert {row["revision"] for row in rows} == {load_model("mini-diffusion").revision}
