"""FABRIC: its attention against a formula, whole paintings against a loop of our own, rounds, what is left behind."""

import copy
import json

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from peft import LoraConfig

from benchmarks.personalization.methods import fabric as module
from benchmarks.personalization.methods.base import Sampling, copy_parts
from benchmarks.personalization.methods.choosers import Choice
from benchmarks.personalization.methods.fabric import METHOD, Config, Fabric, paint_rounds
from benchmarks.personalization.methods.fabric_attention import SELF, References, SelfAttention, Shared, find_depth
from benchmarks.personalization.subjects import Subject
from data_tools.pipelines import load_model
from dreamsim_metric import load
from tests.pictures import PHOTOGRAPHS
from tests.pipelines import stable_diffusion, stable_diffusion_xl

QUICK = Sampling(4, 5.0)
ALWAYS = Config(start=0, end=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_model(str(stable_diffusion(tmp_path_factory.mktemp("sd"), safety_checker=False))).pipeline


@pytest.fixture(scope="module")
def tiny_xl(tmp_path_factory):
    return load_model(str(stable_diffusion_xl(tmp_path_factory.mktemp("xl")))).pipeline


@pytest.fixture(scope="module")
def mini():
    return load_model("mini-diffusion").pipeline


def photographs(count, side=48):
    return [PIL.Image.open(path).convert("RGB").resize((side, side + 8)) for path in PHOTOGRAPHS[:count]]


def latents(fabric, text="a red cat", seeds=range(3, 4), sampling=QUICK, **more):
    """What it paints, before it is decoded: differences are not rounded."""
    return torch.stack(fabric.sample([text] * len(seeds), seeds, sampling, output_type="latent", **more))


def levels(a, b):
    """The largest difference between lists of pictures, of 255."""
    return max(np.abs(np.asarray(x, int) - np.asarray(y, int)).max() for x, y in zip(a, b, strict=True))


# The attention


def softmax_formula(attn, hidden, tokens, weight):
    """Probabilities times weights, divided by their sum, in float64 and head by head: `(B, T, C)`."""
    w = {name: value.double().numpy() for name, value in attn.state_dict().items()}
    rows = []
    for row in hidden.double().numpy():
        seen = np.concatenate([row, tokens.double().numpy()])
        q, k, v = row @ w["to_q.weight"].T, seen @ w["to_k.weight"].T, seen @ w["to_v.weight"].T
        size, heads = q.shape[1] // attn.heads, []
        for head in range(attn.heads):
            part = slice(head * size, (head + 1) * size)
            p = np.exp(q[:, part] @ k[:, part].T / np.sqrt(size))
            p /= p.sum(1, keepdims=True)
            p[:, len(row) :] *= weight
            heads.append(p / p.sum(1, keepdims=True) @ v[:, part])
        rows.append(np.concatenate(heads, 1) @ w["to_out.0.weight"].T + w["to_out.0.bias"])
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize("guided", [True, False])
def test_attention_is_the_formula_and_each_half_looks_at_its_own_references(tiny, guided):
    torch.manual_seed(0)
    attn = tiny.unet.mid_block.attentions[0].transformer_blocks[0].attn1
    hidden = torch.randn(4, 6, 16)
    tokens = {"liked": torch.randn(12, 16), "disliked": torch.randn(18, 16)}
    shared = Shared("kept", {"name": tuple(tokens.values())}, weights=lambda depth: (0.8, 0.3 * depth), guided=guided)
    with torch.no_grad():
        made = SelfAttention(attn.processor, "name", 1.0, shared)(attn, hidden)
        told = softmax_formula(attn, hidden[2:], tokens["liked"], 0.8)
        first = softmax_formula(attn, hidden[:2], *((tokens["disliked"], 0.3) if guided else (tokens["liked"], 0.8)))
    assert torch.allclose(made[2:].double(), told, atol=1e-5)
    assert torch.allclose(made[:2].double(), first, atol=1e-5)


@pytest.mark.parametrize("kind", ["liked", "disliked"])
def test_liked_pictures_change_the_half_that_is_told_the_prompt_and_disliked_ones_the_other(tiny, kind):
    found = []
    hook = tiny.unet.register_forward_hook(lambda unet, args, out: found.append((len(args[0]), out[0].clone())))
    latents(Fabric(tiny, "cat"))
    latents(Fabric(tiny, "cat", ALWAYS, **{kind: photographs(1)}))
    hook.remove()
    plain, looked = (out for rows, out in (found[0], next(one for one in found[4:] if one[0] == 2)))
    same, other = (0, 1) if kind == "liked" else (1, 0)  # without prompt comes first
    assert torch.allclose(plain[same], looked[same], atol=1e-6)
    assert not torch.allclose(plain[other], looked[other], atol=1e-4)


def test_weights_follow_the_published_schedule():
    """20 steps: strong from round(6.6) to round(13.2); linspace from the outermost blocks to the middle and back."""
    config = Config(pos_bottleneck=0.5, neg_bottleneck=2.0)
    for step in range(20):
        base = 0.8 if 7 <= step <= 13 else 0.05
        ways = {"liked": torch.linspace(base, base * 0.5, 5)[:-1], "disliked": torch.linspace(base / 2, base, 5)[:-1]}
        for kind, down in enumerate(ways.values()):
            published = [*down.tolist(), base * (0.5, 1.0)[kind], *down.flip(0).tolist()]
            names = [*(f"down_blocks.{i}.x" for i in range(4)), "mid_block.x", *(f"up_blocks.{i}.x" for i in range(4))]
            ours = [config.weights(step, 20, find_depth(name, 4))[kind] for name in names]
            assert ours == pytest.approx(published, rel=1e-6)


def test_references_are_passed_through_the_network_only_where_they_count(tiny):
    calls = []
    hook = tiny.unet.register_forward_pre_hook(lambda unet, args: calls.append(len(args[0])))
    sampling = Sampling(20, 5.0)
    latents(Fabric(tiny, "cat", Config(min_weight=0), photographs(3)), sampling=sampling)
    latents(Fabric(tiny, "cat", Config(), disliked=photographs(3)), sampling=Sampling(20, 1.0))  # nothing to hold off
    hook.remove()
    assert calls == [*[2] * 7, *[2, 3] * 7, *[2] * 6, *[1] * 20]  # a pass is seen before the one within it


# A whole painting


def paint(pipeline, references, liked, noise, config, text, seed, sampling):
    """FABRIC as published, by a loop of our own: DDIM, [told, not told], attention replaced module by module."""
    unet, steps = pipeline.unet, sampling.steps
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    told, nothing = (pipeline.encode_prompt([words], "cpu", 1, False)[0] for words in (text, ""))
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(steps)
    z = torch.randn((1, *references.shape[1:]), generator=torch.Generator().manual_seed(seed))
    attentions = [[m.attn1 for m in b.modules() if type(m).__name__ == "BasicTransformerBlock"] for b in blocks]
    for i, t in enumerate(scheduler.timesteps):
        share = scheduler.alphas_cumprod[t]
        kept = {}
        handles = [
            a.register_forward_pre_hook(lambda a, args, kept=kept: kept.__setitem__(a, args[0]))
            for b in attentions
            for a in b
        ]
        told_nothing = nothing.expand(len(references), -1, -1)
        unet(share.sqrt() * references + (1 - share).sqrt() * noise(i), t, encoder_hidden_states=told_nothing)
        for handle in handles:
            handle.remove()
        base = config.max_weight if round(steps * config.start) <= i <= round(steps * config.end) else config.min_weight
        ends = ((base, base * config.pos_bottleneck), (base * config.neg_scale,) * 2)
        ways = [torch.linspace(*end, len(unet.down_blocks) + 1) for end in ends]
        weights = [torch.cat([way, way[:-1].flip(0)]).tolist() for way in ways]
        for block, pos, neg in zip(attentions, *weights, strict=True):
            for a in block:

                def forward(hidden, *, a=a, pos=pos, neg=neg, kept=kept, **rest):
                    parts = zip(hidden, (kept[a][:liked], kept[a][liked:]), (pos, neg), strict=True)
                    return torch.stack([weighted(a, *part) for part in parts])

                a.forward = forward
        out = unet(z.expand(2, -1, -1, -1), t, encoder_hidden_states=torch.cat([told, nothing])).sample
        for block in attentions:
            for a in block:
                del a.forward
        z = scheduler.step(out[1:] + sampling.guidance * (out[:1] - out[1:]), t, z).prev_sample
    return z


def weighted(a, own, others, weight):
    seen = torch.cat([own, others.flatten(0, 1)])
    q, k, v = (part.unflatten(-1, (a.heads, -1)).transpose(0, 1) for part in (a.to_q(own), a.to_k(seen), a.to_v(seen)))
    p = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
    p = p * torch.cat([torch.ones(len(own)), torch.full((len(seen) - len(own),), weight)])
    return a.to_out[0]((p / p.sum(-1, keepdim=True) @ v).transpose(0, 1).flatten(1))


@pytest.mark.parametrize("lora", [False, True])
@torch.no_grad()
def test_a_painting_is_that_of_an_independent_loop(tiny, lora):
    pipeline = copy_parts(tiny, "unet")
    if lora:
        torch.manual_seed(1)
        pipeline.unet.add_adapter(LoraConfig(r=4, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v"]))
    config = Config(start=0.25, end=0.5, min_weight=0.3, max_weight=2, pos_bottleneck=0.5)
    fabric = Fabric(pipeline, "cat", config, photographs(2), photographs(3)[2:])
    made = latents(fabric)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "look_at", (looked := _Spy(module.look_at)))
        latents(fabric)
    references = looked.references
    expected = paint(pipeline, references.latents, 2, references.noise, config, "a red cat", 3, QUICK)
    plain = latents(Fabric(pipeline, "cat"))
    assert (made - plain).abs().max() > 1e-2
    assert (made - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)


class _Spy:
    def __init__(self, honest):
        self.honest = honest

    def __call__(self, pipeline, references, weights):
        self.references = references
        return self.honest(pipeline, references, weights)


SCHEDULERS = [DDIMScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, DPMSolverMultistepScheduler]


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_references_have_as_much_noise_as_the_picture(tiny, kind):
    """√ᾱ z + √(1 − ᾱ) ε for every scheduler: those that count in σ scale it so before the network sees it."""
    pipeline = copy_parts(tiny)
    pipeline.scheduler = kind.from_config(tiny.scheduler.config, timestep_spacing="leading", steps_offset=1)
    seen = []
    hook = pipeline.unet.register_forward_pre_hook(lambda unet, args: seen.append((args[0].clone(), int(args[1]))))
    fabric = Fabric(pipeline, "cat", ALWAYS, photographs(3))
    latents(fabric)
    hook.remove()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "look_at", (looked := _Spy(module.look_at)))
        latents(fabric)
    passes = [(noisy, t) for noisy, t in seen if len(noisy) == 3]
    shares = DDIMScheduler.from_config(tiny.scheduler.config).alphas_cumprod
    assert [t for _, t in passes] == [t for noisy, t in seen if len(noisy) == 2]
    assert len(passes) == QUICK.steps
    for step, (noisy, t) in enumerate(passes):
        clean, noise = looked.references.latents, looked.references.noise(step)
        assert torch.allclose(noisy, shares[t].sqrt() * clean + (1 - shares[t]).sqrt() * noise, atol=2e-5)


def test_noise_is_new_in_every_step_and_with_every_seed():
    made = [References(torch.zeros(2, 4, 16, 16), 1, {}, seed).noise(step) for seed in (0, 1) for step in range(3)]
    flat = torch.stack(made).flatten(2).flatten(0, 1)  # (12, 1024)
    assert (torch.corrcoef(flat) - torch.eye(12)).abs().max() < 0.15
    assert flat.std() == pytest.approx(1, abs=0.05)


def test_latents_of_references_are_drawn_from_the_autoencoders_distribution(tiny):
    pictures = [picture.resize((32, 32)) for picture in photographs(3)]
    fabric = Fabric(tiny, "cat", liked=pictures[:2], disliked=pictures[2:])
    pixels = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) / 127.5 - 1 for p in pictures])
    with torch.no_grad():
        spread = tiny.vae.encode(pixels).latent_dist
    standard = (fabric._latents / tiny.vae.config.scaling_factor - spread.mean) / spread.std
    assert standard.mean().abs() < 0.1
    assert standard.std() == pytest.approx(1, abs=0.05)
    assert (standard[0] - standard[1]).abs().max() > 1  # each its own


def test_references_of_no_weight_change_nothing(tiny):
    plain = latents(Fabric(tiny, "cat"))
    both = {"liked": photographs(1), "disliked": photographs(2)}
    assert torch.equal(latents(Fabric(tiny, "cat", Config(min_weight=0, max_weight=0), **both)), plain)
    faint = latents(Fabric(tiny, "cat", Config(min_weight=1e-9, max_weight=1e-9), **both))
    assert (faint - plain).abs().max() < 1e-5


def test_it_paints_with_xl(tiny_xl):
    fabric = Fabric(tiny_xl, "cat", ALWAYS, photographs(2), photographs(1))
    made, plain = latents(fabric, seeds=range(2)), latents(Fabric(tiny_xl, "cat"), seeds=range(2))
    assert made.isfinite().all()
    assert (made - plain).abs().max() > 1e-3
    assert torch.equal(made, latents(fabric, seeds=range(2)))
    assert torch.allclose(made[1:], latents(fabric, seeds=range(1, 2)), atol=1e-4)


def test_the_pipeline_is_left_as_it_was_even_by_an_error(tiny):
    before, plain = dict(tiny.unet.attn_processors), latents(Fabric(tiny, "cat"))
    state = {name: value.clone() for name, value in tiny.unet.state_dict().items()}
    fabric = Fabric(tiny, "cat", liked=photographs(1))
    latents(fabric)

    def fail(pipeline, step, time, held):
        raise RuntimeError("stopped")

    with pytest.raises(ValueError, match=r"cannot paint .*stopped"):
        latents(fabric, callback_on_step_end=fail)
    after = tiny.unet.attn_processors
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert not tiny.unet._forward_pre_hooks
    assert all(torch.equal(value, state[name]) for name, value in tiny.unet.state_dict().items())
    assert torch.equal(latents(Fabric(tiny, "cat")), plain)


def test_a_picture_depends_on_its_seed_alone(mini):
    """Not on what is painted beside it, nor on the global generator, which stays where it was."""
    fabric = Fabric(mini, "dress", ALWAYS, photographs(1), photographs(2)[1:])
    torch.manual_seed(5)
    before = torch.get_rng_state()
    together = fabric.generate("a blue {}", 3, 7, QUICK)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert levels(together, fabric.generate("a blue {}", 3, 7, QUICK)) == 0
    alone = [fabric.generate("a blue {}", 1, seed, QUICK)[0] for seed in (7, 8, 9)]
    assert levels(together, alone) <= 1
    assert levels(together[:1], together[1:2]) > 50
    other = Fabric(mini, "dress", Config(start=0, end=1, seed=1), fabric.liked, fabric.disliked)
    assert levels(together, other.generate("a blue {}", 3, 7, QUICK)) > 5


def test_liked_pictures_draw_samples_to_them_and_disliked_ones_push_them_away(mini):
    sampling, metric = Sampling(10, 4.0), load("mini")
    shown = Fabric(mini, "red dress").generate("a photo of a {}", 1, 100, sampling)
    distances = {
        kind: 1
        - metric.embed(Fabric(mini, "blue dress", ALWAYS, **lists).generate("a photo of a {}", 6, 0, sampling))
        @ metric.embed(shown).T
        for kind, lists in {"plain": {}, "liked": {"liked": shown}, "disliked": {"disliked": shown}}.items()
    }
    mean = {kind: float(d.mean()) for kind, d in distances.items()}
    assert mean["liked"] < mean["plain"] - 0.05
    assert mean["disliked"] > mean["plain"] + 0.01
    assert (distances["liked"] < distances["plain"]).sum() >= 5


# Subjects, files


def subject(tmp_path, count=2):
    paths = []
    for i, picture in enumerate(photographs(count)):
        paths.append(tmp_path / f"{i}.png")
        picture.save(paths[-1])
    return Subject("mine", "cat", tuple(paths))


def test_photographs_of_the_subject_are_the_liked_pictures_and_a_saved_method_paints_the_same(tiny, tmp_path):
    fitted = METHOD.fit(subject(tmp_path), tiny, METHOD.config("mini"), None)
    assert fitted.words == "cat"
    assert levels(fitted.liked, photographs(2)) == 0
    fitted.save(tmp_path / "saved")
    loaded = METHOD.load(tmp_path / "saved", tiny)
    assert loaded.config == fitted.config == Config(min_weight=0)
    assert levels(fitted.generate("a {}", 2, 0, QUICK), loaded.generate("a {}", 2, 0, QUICK)) == 0


def test_presets_have_the_published_defaults():
    paper = METHOD.config("paper")
    assert (paper.start, paper.end, paper.min_weight, paper.max_weight, paper.neg_scale) == (0.33, 0.66, 0.05, 0.8, 0.5)
    assert METHOD.config("sdxl") == paper


def test_what_is_saved_over_something_longer_is_loaded_alone(tiny, tmp_path):
    for count in (3, 1):
        Fabric(tiny, "cat", liked=photographs(count)).save(tmp_path)
    assert len(METHOD.load(tmp_path, tiny).liked) == 1


@pytest.mark.parametrize("change", [{"config": {"more": 1}}, {"liked": "none"}, {"words": None}])
def test_a_damaged_folder_is_named(tiny, tmp_path, change):
    Fabric(tiny, "cat", liked=photographs(1)).save(tmp_path)
    held = json.loads((tmp_path / "method.json").read_text())
    held |= change
    (tmp_path / "method.json").write_text(json.dumps({k: v for k, v in held.items() if v is not None}))
    with pytest.raises(ValueError, match=r"method\.json cannot be used"):
        METHOD.load(tmp_path, tiny)


# Rounds


def scripted(choices, seen):
    answers = iter(choices)

    def choose(pictures):
        seen.append(pictures)
        return Choice(*next(answers), scores=(1.0,) * len(pictures))

    return choose


def test_rounds_begin_plain_and_what_was_chosen_only_grows(tiny, monkeypatch):
    seen, looked = [], []
    honest = Fabric.draw
    monkeypatch.setattr(
        Fabric,
        "draw",
        lambda self, text, seeds, sampling: (
            looked.append((self.liked, self.disliked, text, seeds)) or honest(self, text, seeds, sampling)
        ),
    )
    config = Config(rounds=3, per_round=3)
    choices = [(2, 0), (1, 2), (0, 1)]
    found = paint_rounds(Fabric(tiny, "cat", config), "a red {}", scripted(choices, seen), config, 10, QUICK)
    assert [(one.liked, one.disliked) for one in found] == choices
    assert [one.scores for one in found] == [(1.0,) * 3] * 3
    assert [one.pictures for one in found] == seen
    assert [(text, seeds) for *_, text, seeds in looked] == [
        ("a red cat", range(10, 13)),
        ("a red cat", range(13, 16)),
        ("a red cat", range(16, 19)),
    ]
    liked = [found[i].pictures[choices[i][0]] for i in range(3)]
    disliked = [found[i].pictures[choices[i][1]] for i in range(3)]
    for i, (were_liked, were_disliked, *_) in enumerate(looked):
        assert list(were_liked) == liked[:i]
        assert list(were_disliked) == disliked[:i]
    assert levels(found[0].pictures, Fabric(tiny, "x").draw("a red cat", range(10, 13), QUICK)) == 0
    told = Fabric(tiny, "cat", Config(), liked[:1], disliked[:1])
    assert levels(found[1].pictures, told.draw("a red cat", range(13, 16), QUICK)) == 0


def test_words_are_dropped_each_by_itself_and_the_same_again(tiny):
    config = Config(rounds=2, per_round=4, dropout=0.5)
    fabric, prompt = Fabric(tiny, "cat", config), "an image of a {} and a photo of a red apple"
    found = [paint_rounds(fabric, prompt, scripted([(0, 1)] * 2, []), config, 0, Sampling(1, 5.0)) for _ in range(2)]
    texts = [text for one in found[0] for text in one.texts]
    words = prompt.replace("{}", "cat").split()
    assert texts == [text for one in found[1] for text in one.texts]
    assert len(set(texts)) > 4
    assert 0.3 < sum(len(text.split()) for text in texts) / len(words) / len(texts) < 0.7
    for text in texts:
        rest = iter(words)
        assert all(word in rest for word in text.split())  # in their order


def test_a_prompt_has_its_rounds_once_and_then_pictures_of_what_was_chosen(tiny, tmp_path):
    (tmp_path / "answers.jsonl").write_text('{"round": 0, "liked": 1, "disliked": 0}\n')
    config = Config(rounds=1, per_round=2, chooser=f"file:{tmp_path / 'answers.jsonl'}")
    fabric = METHOD.fit(subject(tmp_path), tiny, config, None)
    assert fabric.liked == ()
    assert levels(fabric.references, photographs(2)) == 0
    fabric.save(tmp_path / "saved")
    made = fabric.generate("a red {}", 2, 0, QUICK)
    assert fabric.work is None
    (tmp_path / "answers.jsonl").write_text("")
    again = fabric.generate("a red {}", 1, 1, QUICK)
    assert levels(made[1:], again) <= 1
    with pytest.raises(ValueError, match="has no answer for round 0"):
        fabric.generate("another {}", 1, 0, QUICK)
    (tmp_path / "answers.jsonl").write_text('{"round": 0, "liked": 1, "disliked": 0}\n')
    loaded = METHOD.load(tmp_path / "saved", tiny)
    assert levels(made, loaded.generate("a red {}", 2, 0, QUICK)) == 0
    shown = sorted(file.name for file in (tmp_path / "saved" / "rounds-a-red").iterdir())
    assert shown == ["0-0-disliked.png", "0-1-liked.png"]
    assert levels(made, Fabric(tiny, "cat").generate("a red {}", 2, 0, QUICK)) > 0


def test_a_metric_chooses_what_is_more_like_the_photographs(mini, tmp_path):
    """Rounds with mini as the judge: final pictures are nearer to the reference than plain ones."""
    sampling, metric = Sampling(6, 4.0), load("mini")
    shown = Fabric(mini, "red dress").generate("a photo of a {}", 1, 100, sampling)
    config = Config(start=0, end=1, rounds=2, per_round=4)
    made = Fabric(mini, "dress", config, references=shown).generate("a photo of a {}", 4, 0, sampling)
    plain = Fabric(mini, "dress").generate("a photo of a {}", 4, 0, sampling)
    near, far = (float((1 - metric.embed(some) @ metric.embed(shown).T).mean()) for some in (made, plain))
    assert near < far


# What cannot be


class _Deaf:
    """A processor of attention that does not hear all that it is told."""

    def __init__(self, plain, to_others, to_bias):
        self.plain, self.to_others, self.to_bias = plain, to_others, to_bias

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, **more):
        others = None if self.to_others else encoder_hidden_states
        bias = None if self.to_others or self.to_bias else attention_mask
        return self.plain(attn, hidden_states, others, bias, temb, **more)


@pytest.mark.parametrize(("deaf", "refused"), [((False, False), False), ((True, False), True), ((False, True), True)])
def test_an_attention_that_does_not_weigh_other_tokens_is_refused(tiny, deaf, refused):
    pipeline = copy_parts(tiny, "unet")
    processors = pipeline.unet.attn_processors
    processors |= {name: _Deaf(plain, *deaf) for name, plain in processors.items() if name.endswith(SELF)}
    pipeline.unet.set_attn_processor(processors)
    fabric = Fabric(pipeline, "cat", ALWAYS, photographs(1))
    if refused:
        with pytest.raises(ValueError, match="_Deaf of this diffusers does not weigh the tokens of other pictures"):
            latents(fabric)
    else:
        assert torch.allclose(latents(fabric), latents(Fabric(tiny, "cat", ALWAYS, photographs(1))), atol=1e-4)


BAD_CONFIGS = {
    "order": ({"start": 0.7, "end": 0.3}, "got start 0.7 and end 0.3"),
    "late": ({"end": 1.5}, "end 1.5; expected shares"),
    "negative weight": ({"min_weight": -0.1}, "got min_weight -0.1; expected 0 or more"),
    "negative rounds": ({"rounds": -1}, "got rounds -1"),
    "dropout": ({"dropout": 2}, "got dropout 2; expected a share"),
    "one picture": ({"per_round": 1}, "got per_round 1; expected 2 or more"),
}


@pytest.mark.parametrize(("options", "message"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_configuration_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


@pytest.mark.parametrize("choice", [(0, 2), (-1, 0), (1, 1)])
def test_a_choice_of_other_pictures_is_refused(tiny, choice):
    config = Config(rounds=1, per_round=2)
    with pytest.raises(ValueError, match=f"likes picture {choice[0]} and dislikes {choice[1]}; expected two different"):
        paint_rounds(Fabric(tiny, "cat"), "a {}", scripted([choice], []), config, 0, Sampling(1, 5.0))


def test_a_prompt_without_a_place_is_refused(tiny):
    for fabric in (Fabric(tiny, "cat"), Fabric(tiny, "cat", Config(rounds=1))):
        with pytest.raises(ValueError, match=r"got the prompt 'a cat'; expected \{\} in it once"):
            fabric.generate("a cat")


def test_a_wrong_chooser_shows_when_it_is_fitted(tiny, tmp_path):
    for chooser, message in (("minii", "unknown metric 'minii'"), ("person", "no folder")):
        with pytest.raises(ValueError, match=message):
            METHOD.fit(subject(tmp_path), tiny, Config(rounds=1, chooser=chooser), None)


def test_a_network_without_self_attention_is_refused(tiny):
    pipeline = copy.copy(tiny)
    pipeline.unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        mid_block_type=None,
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=32,
    )
    with pytest.raises(ValueError, match="has no self-attention"):
        Fabric(pipeline, "cat")
