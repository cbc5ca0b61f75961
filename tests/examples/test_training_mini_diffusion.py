"""How mini-diffusion is made: captions, batches, and training that a stop does not change."""

import json

import diffusers
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch

from data_tools.manifest import append_rows
from examples.mini_diffusion import autoencoder, diffusion, loop, measure, pictures

TEXTS = ["a red square", "a photo of a blue square"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An image folder: red and blue squares of 16 pixels."""
    folder = tmp_path_factory.mktemp("squares")
    lines = []
    for i in range(16):
        pixels = np.random.default_rng(i).integers(0, 80, (16, 16, 3), dtype=np.uint8)
        pixels[..., (0, 2)[i % 2]] = 230
        PIL.Image.fromarray(pixels).save(folder / f"{i}.png")
        lines.append({"file_name": f"{i}.png", "text": [TEXTS[i % 2], "a square"]})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    torch.manual_seed(0)
    autoencoder.network(16).save_pretrained(folder)
    return folder


@pytest.fixture
def arguments(data, vae):
    def made(out, **options):
        parser = loop.options("")
        args = parser.parse_args([str(data), str(out), "--steps", "6", "--batch-size", "4", "--save-every", "3"])
        args.vae, args.device, args.threads = vae, "cpu", 1
        return vars(args).update(options) or args

    return made


def weights(out):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(out / "pipeline")
    return {**pipeline.unet.state_dict(), **pipeline.text_encoder.state_dict()}


def test_a_training_that_was_stopped_ends_with_the_same_weights(arguments, tmp_path, monkeypatch):
    diffusion.main(arguments(tmp_path / "whole"))
    honest = loop.batch

    def interrupted(count, size, step, seed):
        if step == 4:
            raise KeyboardInterrupt
        return honest(count, size, step, seed)

    with monkeypatch.context() as patch:
        patch.setattr(diffusion, "batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            diffusion.main(arguments(tmp_path / "stopped"))
    diffusion.main(arguments(tmp_path / "stopped"))
    whole, stopped = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_the_pipeline_that_is_written_is_stable_diffusions(arguments, tmp_path):
    diffusion.main(arguments(tmp_path, steps=3))
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    assert {weight.dtype for weight in pipeline.unet.parameters()} == {torch.float32}  # as asked for when loading
    image = pipeline("a red square", num_inference_steps=2).images[0]
    assert image.size == (16, 16)
    index = json.loads((tmp_path / "pipeline" / "model_index.json").read_text())
    assert index["safety_checker"] == [None, None]


@pytest.mark.slow
def test_a_trained_model_paints_what_it_is_told(data, vae, arguments, tmp_path):
    # An autoencoder that was not trained yet is unsure by as much as all pictures differ: this one is sure.
    sure = diffusers.AutoencoderKL.from_pretrained(vae)
    with torch.no_grad():
        sure.quant_conv.weight[4:], sure.quant_conv.bias[4:] = 0, -20
    pixels, _ = loop.read_images(data)
    seen = diffusion.latents(sure, pixels, "cpu")[:16, :4].float()
    sure.register_to_config(scaling_factor=1 / seen.std().item())
    sure.save_pretrained(tmp_path / "vae")
    diffusion.main(arguments(tmp_path, steps=600, batch_size=16, save_every=600, vae=tmp_path / "vae"))
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    options = {"output_type": "latent", "num_inference_steps": 20, "guidance_scale": 3.0, "num_images_per_prompt": 16}
    told = []
    for text in TEXTS:
        drawn = pipeline(text, generator=torch.Generator().manual_seed(0), **options).images
        told.append(drawn.mean((0, 2, 3)))
    means = [seen[i::2].mean((0, 2, 3)) / seen.std() for i in (0, 1)]
    for i in (0, 1):
        assert (told[i] - means[i]).norm() < 0.7 * (told[i] - means[1 - i]).norm()


def test_each_epoch_sees_every_picture_once_in_an_order_of_its_own():
    epochs = [torch.cat([loop.batch(12, 4, step, 0) for step in range(3 * e, 3 * e + 3)]).tolist() for e in (0, 1)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(12))] * 2
    assert epochs[0] != epochs[1]


def test_the_learning_rate_rises_and_falls_to_nothing():
    shares = [loop.lr_share(step, 1000) for step in range(1001)]
    assert max(shares) == pytest.approx(1, abs=0.1)
    assert shares[:200] == sorted(shares[:200])
    assert shares[200:] == sorted(shares[200:], reverse=True)
    assert shares[1000] == pytest.approx(0)


def test_captions_of_the_trainings_words_are_whole_tokens_and_others_can_be_spelt():
    words = diffusion.tokenizer(TEXTS)
    assert words.tokenize("A photo of a RED square") == [
        "a</w>",
        "photo</w>",
        "of</w>",
        "a</w>",
        "red</w>",
        "square</w>",
    ]
    spelt = words("zebra é 你 #", add_special_tokens=False).input_ids
    assert words.unk_token_id not in spelt
    assert words.decode(spelt).replace(" ", "") == "zebraé你#"
    assert len(words("", padding="max_length").input_ids) == words.model_max_length == diffusion.LENGTH


SHADES = {
    "red": "#d01010",
    "blue": "#2040d0",
    "brown": "#6b4020",
    "white": "#f5f5f5",
    "gray": "#808080",
    "black": "#0a0a0a",
}


@pytest.mark.parametrize("shade", SHADES)
def test_the_colour_of_the_middle_is_named(shade):
    picture = PIL.Image.new("RGB", (64, 64), "#00ff00")
    picture.paste(SHADES[shade], (12, 12, 52, 52))
    assert pictures.colour(picture) == shade


def test_a_picture_of_many_colours_has_no_name_for_them():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert pictures.colour(PIL.Image.fromarray(noise)) == ""
    assert pictures.captions(("cat",), "") == [template.format("cat") for template in pictures.TEMPLATES]
    assert "a photo of a red cat" in pictures.captions(("cat",), "red")


def test_pictures_are_made_square_and_captioned(tmp_path):
    sources = tmp_path / "sources"
    tiny, clothing = sources / "tiny-imagenet" / "tiny-imagenet-200", sources / "clothing"
    for number in pictures.IMAGENET:
        (tiny / "train" / number / "images").mkdir(parents=True)
    PIL.Image.new("RGB", (64, 64), "#ff8000").save(tiny / "train" / "n01443537" / "images" / "a.JPEG")
    (tiny / "val" / "images").mkdir(parents=True)
    (tiny / "val" / "val_annotations.txt").write_text("v.JPEG\tn01443537\t0\t0\t1\t1\nw.JPEG\tn00000000\t0\t0\t1\t1\n")
    PIL.Image.new("L", (64, 64)).save(tiny / "val" / "images" / "v.JPEG")
    for part in ("train", "validation", "test"):
        for kind in pictures.CLOTHES:
            (clothing / part / kind).mkdir(parents=True)
    PIL.Image.new("RGB", (300, 400), "#1010c0").save(clothing / "train" / "hat" / "h.jpg")
    pictures.main(sources, tmp_path / "out")
    pixels, texts = loop.read_images(tmp_path / "out" / "train")
    assert pixels.shape == (2, 3, 64, 64)
    assert "an image of a goldfish" in texts[0]
    assert "a blue hat" in texts[1]
    assert loop.read_images(tmp_path / "out" / "test")[0].shape == (1, 3, 64, 64)


def test_pictures_of_two_sizes_are_refused(tmp_path):
    for i, size in enumerate((16, 32)):
        PIL.Image.new("RGB", (size, size)).save(tmp_path / f"{i}.png")
    lines = [json.dumps({"file_name": f"{i}.png", "text": "a square"}) + "\n" for i in (0, 1)]
    (tmp_path / "metadata.jsonl").write_text("".join(lines))
    with pytest.raises(ValueError, match=r"1\.png has \(32, 32\) pixels; expected squares, all of the size"):
        loop.read_images(tmp_path)


def test_a_loss_that_is_not_finite_ends_the_training(arguments, tmp_path):
    weight = torch.nn.Linear(1, 1)
    run = loop.run(arguments(tmp_path), {"weight": weight}, lambda step: weight.weight.sum() * float("nan"))
    with pytest.raises(FloatingPointError, match=r"loss of step 0 is nan; lower --lr"):
        next(run)


def test_figures_of_a_hand_made_case():
    unit = torch.nn.functional.normalize
    axes = {"x": torch.tensor([1.0, 0.0]), "y": torch.tensor([0.0, 1.0])}
    made = {"x": unit(torch.tensor([[2.0, 1.0], [1.0, 2.0]])), "y": unit(torch.tensor([[0.0, 1.0], [3.0, 4.0]]))}
    assert measure.accuracy(made, axes) == {"mean": 0.75, "x": 0.5, "y": 1.0}
    assert measure.diversity(made) == pytest.approx(((1 - 0.8) + (1 - 0.8)) / 2)
    distances, indices = measure.nearest(made, {"x": torch.stack([axes["y"], axes["x"]]), "y": axes["y"][None]})["x"]
    assert indices.tolist() == [1, 0]
    assert distances.tolist() == pytest.approx([1 - 2 / 5**0.5] * 2)


def test_a_copy_is_found_with_its_original(tmp_path, monkeypatch):
    """Samples that are mirrored train pictures: as near as can be, and shown beside them."""
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 4)):
        (tmp_path / "data" / split).mkdir(parents=True)
        lines = []
        for i in range(count):
            noise = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            noise[..., i % 2] = 0
            PIL.Image.fromarray(noise).resize((64, 64)).save(tmp_path / "data" / split / f"{i}.png")
            lines.append(json.dumps({"file_name": f"{i}.png", "text": "", "category": "ab"[i % 2]}) + "\n")
        (tmp_path / "data" / split / "metadata.jsonl").write_text("".join(lines))
    rows = []
    for i in range(4):
        with PIL.Image.open(tmp_path / "data" / "train" / f"{i}.png") as picture:
            PIL.ImageOps.mirror(picture).save(tmp_path / f"{i}.png")
        rows.append({"path": f"{i}.png", "category": "ab"[i % 2], "dropped": None})
    append_rows(tmp_path, rows)
    honest = measure.load
    monkeypatch.setattr(measure, "load", lambda name, source=None: honest("mini"))  # whose weights are at hand
    found = measure.main(tmp_path, tmp_path / "data", tmp_path, tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text()) == found
    assert found["copying"]["median to the nearest train picture"]["samples"] == pytest.approx(0, abs=1e-5)
    assert found["copying"]["median to the nearest train picture"]["real"] > 0.05
    assert found["copying"]["share of samples nearer than 99 % of real pictures are"] == 1
    page = np.asarray(PIL.Image.open(tmp_path / "figures.png"))
    assert (page[:128, :128] == page[:128, 255:127:-1]).all()  # each beside its mirror image
