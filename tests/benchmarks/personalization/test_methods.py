"""Methods of personalization: what defines each of them, on small pipelines with random weights."""

import dataclasses
import types

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch

from benchmarks.metrics.base import Options
from benchmarks.metrics.registry import find_metrics
from benchmarks.personalization.methods import (
    custom_diffusion,
    decomposition,
    dreambooth,
    ip_adapter,
    plain,
    textual_inversion,
    tokens,
    tuning,
)
from benchmarks.personalization.methods.base import Sampling, check_family, copy_parts
from benchmarks.personalization.methods.registry import METHODS, find_methods
from benchmarks.personalization.methods.tree import Node, draw_tree
from benchmarks.personalization.subjects import Subject
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.weights.folder import read_tensors
from tests.pictures import PHOTOGRAPHS
from tests.pipelines import stable_diffusion, stable_diffusion_xl

FEW = Sampling(2)


def load(folder):
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def photograph(size, seed):
    return PIL.Image.open(PHOTOGRAPHS[seed % len(PHOTOGRAPHS)]).convert("RGB").resize(size)


@pytest.fixture(scope="module")
def sd(tmp_path_factory):
    return load(stable_diffusion(tmp_path_factory.mktemp("sd"), safety_checker=False))


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    return load(stable_diffusion_xl(tmp_path_factory.mktemp("xl")))


@pytest.fixture(scope="module")
def cat(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cat")
    for i in range(3):
        photograph((40 + i, 36), seed=i).save(folder / f"{i}.png")
    return Subject("my_cat", "cat", tuple(sorted(folder.glob("*.png"))))


FAST = {"steps": 2, "learning_rate": 1e-2}
CLASS = {"class_pictures": 2, "class_sampling": FEW}
CONFIGS = {
    "dreambooth": dreambooth.Config(**FAST, **CLASS),
    "dreambooth, text too": dreambooth.Config(**FAST, **CLASS, train_text=True),
    "dreambooth-no-prior": dreambooth.Config(**FAST, prior_weight=0),
    "lora": dreambooth.Config(**FAST, **CLASS, rank=2),
    "lora, text too": dreambooth.Config(**FAST, **CLASS, rank=2, train_text=True),
    "textual-inversion": textual_inversion.Config(**FAST),
    "textual-inversion, 3 vectors": textual_inversion.Config(**FAST, vectors=3),
    "custom-diffusion": custom_diffusion.Config(**FAST, **CLASS, batch_size=2),
    "decomposition": decomposition.Config(
        **FAST, batch_size=2, seeds=(0, 1), trial=1, samples=4, kept=2, sampling=FEW, metrics=("mini",)
    ),
}
MODULES = {
    dreambooth.Config: dreambooth.METHOD,
    textual_inversion.Config: textual_inversion.METHOD,
    custom_diffusion.Config: custom_diffusion.METHOD,
    decomposition.Config: decomposition.METHOD,
}
# What may move: parts of names of parameters; the first rows of an embedding are looked at apart.
MOVES = {
    "dreambooth": ("unet.",),
    "dreambooth, text too": ("unet.", "text_encoder"),
    "dreambooth-no-prior": ("unet.",),
    "lora": ("lora_",),
    "lora, text too": ("lora_",),
    "custom-diffusion": (".attn2.to_k.weight", ".attn2.to_v.weight"),
}


def fit(name, subject, pipeline, work=None):
    config = CONFIGS[name]
    return MODULES[type(config)].fit(subject, pipeline, config, work)


def test_methods_that_see_photographs_see_them_as_metrics_do(tmp_path, monkeypatch):
    """Upright and over white, however a phone or a designer saved them."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    clear = photograph((40, 30), seed=0).convert("RGBA")
    clear.putalpha(photograph((40, 30), seed=1).convert("L"))
    clear.save(tmp_path / "a.png", exif=exif)
    subject = Subject("cat", "cat", (tmp_path / "a.png",))
    seen = []
    monkeypatch.setattr(ip_adapter, "_adapt", lambda pipeline, noun, photographs, config: seen.append(photographs[0]))
    monkeypatch.setattr(decomposition._Growing, "split", lambda self, pictures, *_: seen.append(pictures[0]))
    ip_adapter.fit(subject, None, ip_adapter.Config())
    with pytest.raises(TypeError):  # of nothing in place of twins
        decomposition._Growing(None, CONFIGS["decomposition"], {}, tmp_path).tree(subject)
    assert len(seen) == 2
    for picture in seen:
        assert torch.equal(to_pixels(picture, None), to_pixels(subject.pictures[0], None))


def state(pipeline):
    """Every parameter by name, without peft's additions to names."""
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {
        f"{name}.{key.replace('.base_layer', '')}": value.detach().clone()
        for name, part in parts.items()
        for key, value in part.named_parameters()
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_only_what_a_method_teaches_moves_and_the_given_pipeline_stays(name, sd, cat):
    before = state(sd)
    fitted = fit(name, cat, sd)
    assert all(torch.equal(before[key], value) for key, value in state(sd).items())
    after, moved = state(fitted.pipeline), []
    for key, value in after.items():
        old = before.get(key)
        if old is not None and len(value) > len(old):  # an embedding with new rows
            assert torch.equal(value[: len(old)], old)
            rows = value[len(old) :]
            begun = tokens.copy_with_words(sd, ["<x>"], CONFIGS[name].initial or "cat")[1]["text_encoder"]
            assert not torch.isclose(rows, begun.detach()).all(1).any()
        elif old is None or not torch.equal(value, old):
            moved.append(key)
    allowed = MOVES.get(name, ())
    assert [key for key in moved if not any(part in key for part in allowed)] == []
    missed = [part for part in allowed if not any(part in key for key in moved)]
    assert missed == []
    if name == "custom-diffusion":
        assert len(moved) == sum(".attn2.to_k." in key or ".attn2.to_v." in key for key in before)


@pytest.mark.parametrize("name", CONFIGS)
def test_saved_and_loaded_again_it_gives_the_same_pictures(name, sd, cat, tmp_path):
    fitted = fit(name, cat, sd)
    fitted.save(tmp_path / "fit")
    again = MODULES[type(CONFIGS[name])].load(tmp_path / "fit", sd)
    for prompt in ("a {}", "a red {} in the snow"):
        one, other = (np.stack(found.generate(prompt, 2, 5, FEW)) for found in (fitted, again))
        np.testing.assert_array_equal(one, other)
    assert again.words == fitted.words
    assert not np.array_equal(one, np.stack(plain.Plain(sd, fitted.words).generate(prompt, 2, 5, FEW)))


@pytest.mark.parametrize("name", ["dreambooth", "lora, text too", "textual-inversion, 3 vectors", "custom-diffusion"])
def test_stable_diffusion_xl_is_taught_by_the_same_code(name, xl, cat, tmp_path):
    fitted = fit(name, cat, xl)
    fitted.save(tmp_path)
    again = MODULES[type(CONFIGS[name])].load(tmp_path, xl)
    one, other = (np.stack(found.generate("a {}", 1, 5, FEW)) for found in (fitted, again))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, np.stack(plain.Plain(xl, fitted.words).generate("a {}", 1, 5, FEW)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["dreambooth", "lora", "textual-inversion"])
def test_half_precision_trains_and_ends_in_the_pipelines_dtype(name, dtype, sd, cat):
    parts = {key: part for key, part in sd.components.items() if isinstance(part, torch.nn.Module)}
    half = copy_parts(sd, *parts)
    for key in parts:
        getattr(half, key).to(dtype)
    fitted = fit(name, cat, half)
    assert {value.dtype for value in state(fitted.pipeline).values()} == {dtype}
    assert np.isfinite(np.stack(fitted.generate("a {}", 1, 0, FEW)).astype(float)).all()


def test_diffusers_itself_reads_learnt_words_and_loras(sd, cat, tmp_path):
    inverted = fit("textual-inversion, 3 vectors", cat, sd)
    inverted.save(tmp_path / "words")
    fresh = copy_parts(sd, "tokenizer", "text_encoder")
    fresh.load_textual_inversion(tmp_path / "words" / tokens.FILE, token=inverted.words)
    lora = fit("lora", cat, sd)
    lora.save(tmp_path / "lora")
    adapted = copy_parts(sd, "unet")
    adapted.load_lora_weights(tmp_path / "lora")
    for ours, theirs in ((inverted, fresh), (lora, adapted)):
        one = ours.generate("a {}", 1, 3, FEW)[0]
        np.testing.assert_array_equal(one, plain.Plain(theirs, ours.words).generate("a {}", 1, 3, FEW)[0])


@pytest.mark.parametrize("name", ["dreambooth, text too", "lora, text too"])
def test_text_encoders_are_saved_under_names_that_every_version_of_transformers_reads(name, sd, cat, tmp_path):
    """Those of version 4; version 5 reads them too, see the test of what is saved and loaded again."""
    fit(name, cat, sd).save(tmp_path)
    named = []
    for file in tmp_path.rglob("*.safetensors"):
        begin = "text_encoder." if file.name.startswith("pytorch_lora") else ""
        if file.parent.name != "unet":
            named += [key.removeprefix(begin) for key in read_tensors(file)[0] if key.startswith(begin)]
    assert named
    assert [key for key in named if not key.startswith("text_model.")] == []


@pytest.mark.parametrize(
    "name", ["dreambooth", "textual-inversion", pytest.param("decomposition", marks=pytest.mark.slow)]
)
def test_a_fit_that_was_killed_ends_as_if_it_had_not_been(name, sd, cat, tmp_path, monkeypatch):
    config = dataclasses.replace(CONFIGS[name], steps=4, save_every=1)
    method = MODULES[type(config)]
    whole = method.fit(cat, sd, config, tmp_path / "whole" / "work")
    honest, seen = tuning._run_backward, []

    def killed(*arguments):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return honest(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "_run_backward", killed)
        with pytest.raises(KeyboardInterrupt):
            method.fit(cat, sd, config, tmp_path / "killed" / "work")
    resumed = method.fit(cat, sd, config, tmp_path / "killed" / "work")
    one, other = state(whole.pipeline), state(resumed.pipeline)
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_state_of_another_training_is_refused(sd, cat, tmp_path):
    fit("textual-inversion", cat, sd, tmp_path / "work")
    with pytest.raises(ValueError, match="another training"):
        fit("dreambooth-no-prior", cat, sd, tmp_path / "work")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_the_squared_error_of_the_prediction_by_the_formula(prediction, sd):
    twin = copy_parts(sd, "scheduler")
    twin.scheduler.register_to_config(prediction_type=prediction)
    denoiser = tuning.Denoiser(twin)
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 16)
    times = torch.tensor([10, 900])
    with torch.no_grad():
        errors = denoiser.errors(latents, ["a cat", "an apple"], times, noise)
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        kept = np.cumprod(1 - betas)
        for i, text in enumerate(("a cat", "an apple")):
            a, b = kept[times[i]] ** 0.5, (1 - kept[times[i]]) ** 0.5
            ids = sd.tokenizer(text, padding="max_length", return_tensors="pt").input_ids
            told = sd.text_encoder(ids).last_hidden_state
            noisy = (a * latents[i] + b * noise[i])[None].float()
            predicted = sd.unet(noisy, times[i], told).sample[0].double()
            target = noise[i] if prediction == "epsilon" else a * noise[i] - b * latents[i]
            assert errors[i].item() == pytest.approx(((predicted - target) ** 2).mean().item(), rel=1e-4)


def test_xl_is_told_sizes_and_crops_as_its_own_pipeline_tells_them(xl):
    """What the pipeline's own call passes to the network, for a picture that is neither scaled nor cropped."""
    told = []
    hook = xl.unet.register_forward_pre_hook(lambda unet, args, given: told.append(given), with_kwargs=True)
    side = tuning.Denoiser(xl).size
    xl(prompt=["a red cat"], num_inference_steps=1, guidance_scale=1.0, height=side, width=side)
    hook.remove()
    found = tuning.Denoiser(xl).conditions(["a red cat"])
    assert torch.equal(found["encoder_hidden_states"], told[0]["encoder_hidden_states"])
    assert found["added_cond_kwargs"].keys() == told[0]["added_cond_kwargs"].keys()
    for name, value in told[0]["added_cond_kwargs"].items():
        assert torch.equal(found["added_cond_kwargs"][name], value)


def test_a_network_without_keys_and_values_of_the_prompt_is_refused():
    pipeline = types.SimpleNamespace(unet=torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"the UNet of SimpleNamespace has no attn2.to_k and attn2.to_v; expected"):
        custom_diffusion.find_keys_values(pipeline)


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(
    ("module", "mine", "theirs"),
    [
        (dreambooth, "a sks cat", "a cat"),
        (custom_diffusion, "photo of a <new1> cat", "photo of a cat"),
    ],
)
def test_prior_preservation_adds_the_weighted_loss_of_the_class(module, mine, theirs, weight, sd, cat, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "tune", lambda denoiser, parameters, batch, *more: seen.append(batch))
    module.fit(cat, sd, module.Config(**CLASS, batch_size=2, prior_weight=weight))
    by_prompt = {}
    for example in seen[0](torch.Generator().manual_seed(0)):
        by_prompt.setdefault(example.prompt, []).append(example.weight)
    assert by_prompt == {mine: [0.5, 0.5]} | ({theirs: [weight / 2, weight / 2]} if weight else {})


def test_pictures_of_the_class_are_made_once_for_all_subjects_of_it(sd, cat, tmp_path, monkeypatch):
    drawn = []
    honest = plain.Plain.draw
    monkeypatch.setattr(plain.Plain, "draw", lambda self, *more: drawn.append(more) or honest(self, *more))
    one = fit("dreambooth", cat, sd, tmp_path / "one")
    assert len(drawn) == 1
    other = fit("dreambooth", cat, sd, tmp_path / "other")
    assert len(drawn) == 1
    assert all(torch.equal(value, state(other.pipeline)[key]) for key, value in state(one.pipeline).items())
    assert sorted(file.name for file in (tmp_path / "class-cat").iterdir()) == ["00000.png", "00001.png"]


def test_a_batch_that_does_not_fit_is_halved_once_and_trains_the_same(sd, cat, monkeypatch):
    config = dataclasses.replace(CONFIGS["dreambooth"], batch_size=2)
    whole = dreambooth.fit(cat, sd, config)
    honest, sizes = tuning._run_backward, []

    def small(denoiser, some, scaler):
        sizes.append(len(some.prompts))
        if len(some.prompts) > 2:
            raise torch.OutOfMemoryError("too much")
        return honest(denoiser, some, scaler)

    monkeypatch.setattr(tuning, "_run_backward", small)
    halved = dreambooth.fit(cat, sd, config)
    assert sizes == [4, 2, 2, 2, 2]
    one, other = state(whole.pipeline), state(halved.pipeline)
    # Adam's first steps only see signs: where a gradient is rounding alone they may differ.
    close = [torch.isclose(value, other[key], atol=1e-4).float().mean().item() for key, value in one.items()]
    assert np.mean(close) > 0.99


def test_a_half_that_does_not_fit_either_is_an_error_that_says_what_to_do(sd, cat, monkeypatch):
    def never(*arguments):
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(tuning, "_run_backward", never)
    with pytest.raises(torch.OutOfMemoryError, match=r"2 pictures at once do not fit.*batch_size"):
        dreambooth.fit(cat, sd, dataclasses.replace(CONFIGS["dreambooth"], batch_size=2))


def test_pictures_that_do_not_fit_at_once_are_drawn_in_halves(sd, monkeypatch):
    fitted = plain.Plain(sd, "cat")
    whole = fitted.generate("a {}", 4, 0, FEW)
    honest, sizes, most = plain.Plain.sample, [], [2]

    def small(self, texts, *more, **options):
        sizes.append(len(texts))
        if len(texts) > most[0]:
            raise torch.OutOfMemoryError("too much")
        return honest(self, texts, *more, **options)

    monkeypatch.setattr(plain.Plain, "sample", small)
    halves = fitted.generate("a {}", 4, 0, FEW)
    assert sizes == [4, 2, 2]
    assert np.abs(np.stack(whole).astype(int) - np.stack(halves)).max() <= 1
    most[0] = 1
    with pytest.raises(torch.OutOfMemoryError, match="2 pictures at once do not fit"):
        fitted.generate("a {}", 4, 0, FEW)


def test_pictures_depend_on_their_seed_alone(sd):
    fitted = plain.Plain(sd, "cat")
    three = fitted.generate("a {}", 3, 7, FEW)
    assert np.abs(np.asarray(three[1]).astype(int) - np.asarray(fitted.generate("a {}", 1, 8, FEW)[0])).max() <= 1
    assert not np.array_equal(three[0], three[1])


def test_an_exploding_training_says_so(sd, cat):
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        dreambooth.fit(cat, sd, dreambooth.Config(steps=20, learning_rate=1e20, prior_weight=0))


def test_a_new_word_begins_as_the_mean_of_the_tokens_it_is_told(sd):
    twin, learnt = tokens.copy_with_words(sd, ["<x>"], "red apple", vectors=2)
    ids = sd.tokenizer("red apple", add_special_tokens=False).input_ids
    assert len(ids) == 2
    mean = sd.text_encoder.get_input_embeddings().weight[ids].mean(0)
    assert torch.equal(learnt["text_encoder"].detach(), torch.stack([mean, mean]).detach())
    assert len(twin.tokenizer("<x>", add_special_tokens=False).input_ids) == 1
    assert sd.tokenizer.convert_tokens_to_ids("<x>") == sd.tokenizer.unk_token_id  # the given one never heard of it


def test_consistency_is_the_published_score_of_a_hand_worked_case():
    left = np.array([[1.0, 0.8, 0.6], [0.8, 1.0, 0.7], [0.6, 0.7, 1.0]])  # S_ll = 0.7
    right = np.array([[1.0, 0.5, 0.3], [0.5, 1.0, 0.4], [0.3, 0.4, 1.0]])  # S_rr = 0.4
    across = np.array([[0.1, 0.2, 0.3], [0.2, 0.2, 0.2], [0.3, 0.2, 0.1]])  # S_lr = 0.2
    assert decomposition.measure_consistency(left, right, across) == pytest.approx(0.7 + 0.4 + (0.4 - 0.2))


def test_a_node_goes_on_with_the_seed_of_the_best_score_and_keeps_all_scores(sd, cat):
    found = fit("decomposition", cat, sd)
    root = found.nodes[0].scores
    assert set(root["tried"]) == {"0", "1"}
    assert root["seed"] == max((0, 1), key=lambda seed: root["tried"][str(seed)]["mini"])
    assert [node.word for node in found.nodes] == ["cat", "<1>", "<2>"]
    assert [len(node.pictures) for node in found.nodes] == [3, 2, 2]
    assert found.words == "<1> <2>"


def test_noisy_steps_are_drawn_more_often_as_published():
    random = torch.Generator().manual_seed(0)
    drawn = decomposition.draw_late_steps(200_000, 1000, random).double()
    share = 1 - 0.5 * np.cos(np.pi * np.arange(1000) / 1000)
    assert drawn.mean().item() == pytest.approx((share * np.arange(1000)).sum() / share.sum(), rel=0.01)
    assert (drawn >= 500).double().mean().item() == pytest.approx(share[500:].sum() / share.sum(), abs=0.005)


def test_words_are_judged_by_pictures_of_themselves_alone(sd, cat, monkeypatch):
    drawn = set()
    honest = plain.Plain.draw
    monkeypatch.setattr(plain.Plain, "draw", lambda self, text, *more: drawn.add(text) or honest(self, text, *more))
    fit("decomposition", cat, sd)
    assert drawn == {"<1>", "<2>"}


def test_a_childs_pictures_are_those_most_like_the_others():
    like = [photograph((64, 64), seed=0).rotate(3 * i) for i in range(3)]
    mini = find_metrics(["mini"])["mini"](Options())
    kept = decomposition.choose_most_alike([photograph((64, 64), seed=1), *like, photograph((64, 64), seed=2)], mini, 3)
    assert kept == like


def test_a_tree_joins_children_to_their_parents():
    nodes = [Node("", [], {}) for _ in range(7)]
    page = np.asarray(draw_tree(nodes).convert("L"))
    between = page[212 + 12 + 18]  # half way from the root's pictures to its children
    assert [round(8 * x / page.shape[1], 1) for x in centres(between)] == [3.0, 5.0]
    below = page[2 * 248 + 12 - 18]
    assert [round(16 * x / page.shape[1], 1) for x in centres(below)] == [3.0, 5.0, 11.0, 13.0]


def centres(row):
    """Of the grey parts of a row of pixels."""
    at = np.flatnonzero(row < 250)
    return [part.mean() for part in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)]


def test_latents_are_drawn_from_the_encoders_distribution_and_scaled(sd):
    denoiser = tuning.Denoiser(sd)
    mean, spread = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    examples = [tuning.Example(torch.cat(pair), "a", 1.0) for pair in zip(mean, spread, strict=True)]
    drawn = tuning._Drawn.of(denoiser, examples, tuning.draw_steps, torch.Generator().manual_seed(5))
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(5))
    assert sd.vae.config.scaling_factor != 1
    torch.testing.assert_close(drawn.latents, (mean + spread.exp().sqrt() * noise) * sd.vae.config.scaling_factor)


def test_photographs_take_turns_and_are_mirrored_as_often_as_told():
    encoded = [(torch.tensor(float(i)), torch.tensor(float(-i))) for i in range(1, 5)]
    random = torch.Generator().manual_seed(0)
    assert sorted(value.item() for value in tuning.pick(encoded, 8, 0.0, random)) == [1, 1, 2, 2, 3, 3, 4, 4]
    many = torch.stack(tuning.pick(encoded, 4000, 0.25, random))
    assert (many < 0).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_latents_are_of_the_middle_of_the_picture_and_of_its_mirror_image(sd):
    denoiser = tuning.Denoiser(sd)
    wide = PIL.Image.new("RGB", (96, 32), "red")
    wide.paste(photograph((32, 32), seed=1), (32, 0))
    middle = photograph((32, 32), seed=1)
    (ours,), (theirs,) = denoiser.encode([wide]), denoiser.encode([middle])
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
    mirrored = denoiser.encode([middle.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)])[0]
    torch.testing.assert_close(mirrored[0], theirs[1], atol=1e-4, rtol=1e-4)


def without(pipeline, **changes):
    return types.SimpleNamespace(**({"encode_prompt": None, **pipeline.components} | changes))


def test_a_pipeline_of_another_family_is_refused(sd, cat):
    with pytest.raises(ValueError, match=r"has no unet.*Stable Diffusion's family"):
        check_family(without(sd, unet=None))
    wide = types.SimpleNamespace(config=types.SimpleNamespace(in_channels=9))
    with pytest.raises(ValueError, match=r"takes 9 channels.*inpainting"):
        check_family(without(sd, unet=wide))
    for name in ("dreambooth", "textual-inversion", "custom-diffusion"):
        with pytest.raises(ValueError, match="family"):
            fit(name, cat, without(sd, vae=None))


def test_prompts_without_a_place_for_the_subject_are_refused(sd):
    for prompt in ("a cat", "a {} and a {}"):
        with pytest.raises(ValueError, match="in it once"):
            plain.Plain(sd, "cat").generate(prompt)


def test_words_of_another_pipeline_are_refused(sd, xl, cat, tmp_path):
    with pytest.raises(ValueError, match="knows one of"):
        tokens.copy_with_words(tokens.copy_with_words(sd, ["<x>"], "cat")[0], ["<x>"], "cat")
    with pytest.raises(ValueError, match="expected a word"):
        tokens.copy_with_words(sd, ["<x>"], "")
    fit("textual-inversion", cat, sd).save(tmp_path)
    with pytest.raises(FileNotFoundError):
        textual_inversion.load(tmp_path, xl)


def test_unknown_methods_are_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match="did you mean dreambooth"):
        find_methods(["dreamboth"])
    assert list(find_methods(["plain", "dreambooth"])) == ["plain", "dreambooth"]
    for method in METHODS.values():
        assert dataclasses.is_dataclass(method.config("mini"))
        assert method.config("no such preset") == method.presets["paper"]
