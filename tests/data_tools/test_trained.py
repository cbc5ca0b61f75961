"""What other trainers wrote: every tensor finds its place, or the file is refused with the reason."""

import copy
import shutil

import numpy as np
import peft
import PIL.Image
import pytest
import safetensors.torch
import torch
from diffusers.utils import convert_state_dict_to_diffusers
from peft.utils import get_peft_model_state_dict

from benchmarks.personalization.methods.registry import METHODS
from data_tools.cli import main
from data_tools.manifest import read_rows
from data_tools.pipelines import load_model
from data_tools.trained.addition import add_all
from data_tools.trained.lora import add_lora
from data_tools.trained.words import read_words
from tests.original_names import name_as_authors
from tests.pipelines import stable_diffusion, stable_diffusion_xl

TARGETS = {"unet": ["to_k", "to_q", "to_v", "to_out.0", "conv1"], "text_encoder": ["q_proj", "out_proj"]}


@pytest.fixture(scope="module")
def sd(tmp_path_factory):
    return load_model(str(stable_diffusion(tmp_path_factory.mktemp("sd") / "sd", safety_checker=False))).pipeline


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    return load_model(str(stable_diffusion_xl(tmp_path_factory.mktemp("xl") / "xl"))).pipeline


def copied(pipeline):
    twin = copy.copy(pipeline)
    for name in ("unet", "vae", "text_encoder", "tokenizer"):
        setattr(twin, name, copy.deepcopy(getattr(pipeline, name)))
    return twin


def adapted(part, name, **options):
    """A part with a LoRA whose second factors are not zero, by peft."""
    torch.manual_seed(1)
    twin = copy.deepcopy(part)
    twin.add_adapter(peft.LoraConfig(target_modules=TARGETS[name], **{"r": 4, "lora_alpha": 4, **options}))
    for key, value in twin.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(value, std=0.1)
    return twin


def paint(pipeline, text="a sks cat"):
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(3)
    return pipeline(text, num_inference_steps=2, generator=noise, output_type="np").images[0]


def kohya(parts, alpha, folder):
    held = {}
    for prefix, part, above in parts:
        for name, value in get_peft_model_state_dict(part).items():
            module, _, which = name.rpartition(".lora_")
            base = f"{prefix}_{(above + module).replace('.', '_')}"
            held[f"{base}.lora_{'down' if which.startswith('A') else 'up'}.weight"] = value.contiguous()
            held[f"{base}.alpha"] = torch.tensor(float(alpha))
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(held, folder / "mine.safetensors")


def write_diffusers(sd, folder, unet, text):
    layers = {
        f"{name}_lora_layers": convert_state_dict_to_diffusers(get_peft_model_state_dict(part))
        for name, part in (("unet", unet), ("text_encoder", text))
    }
    sd.save_lora_weights(folder, **layers)


def write_peft(folder, part, name, options):
    folder.mkdir(parents=True, exist_ok=True)
    held = {f"base_model.model.{key}": value.contiguous() for key, value in get_peft_model_state_dict(part).items()}
    safetensors.torch.save_file(held, folder / "adapter_model.safetensors")
    peft.LoraConfig(target_modules=TARGETS[name], **{"r": 4, "lora_alpha": 4, **options}).save_pretrained(folder)


FORMS = {
    "diffusers": {},
    "kohya": {"lora_alpha": 2},
    "kohya, odd alpha": {"lora_alpha": 3},
    "peft": {"lora_alpha": 8},
    "peft, rank-stabilised": {"lora_alpha": 8, "use_rslora": True},
    "peft, ranks and alphas": {"rank_pattern": {"to_q|q_proj": 2}, "alpha_pattern": {"to_k|out_proj": 1}},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_lora_of_any_form_paints_as_the_trained_network_did(form, sd, tmp_path):
    """The oracle is peft's own forward, of the network that the file was written from."""
    options = FORMS[form]
    trained = copied(sd)
    trained.unet, trained.text_encoder = (adapted(getattr(sd, name), name, **options) for name in TARGETS)
    folder = tmp_path / "lora"
    if form == "diffusers":
        write_diffusers(sd, folder, trained.unet, trained.text_encoder)
    elif form.startswith("kohya"):
        parts = [("lora_unet", trained.unet, ""), ("lora_te", trained.text_encoder, "text_model.")]
        kohya(parts, options["lora_alpha"], folder)
    else:
        for name in TARGETS:
            write_peft(folder / name, getattr(trained, name), name, options)
    before = paint(sd)
    fitted = METHODS["dreambooth-lora"].load(folder, sd, "sks cat")
    wanted = paint(trained)
    assert np.abs(wanted - before).max() > 0.05
    np.testing.assert_allclose(paint(fitted.pipeline), wanted, atol=2e-5)
    np.testing.assert_array_equal(paint(sd), before)
    fitted.save(tmp_path / "again")
    again = METHODS["dreambooth-lora"].load(tmp_path / "again", sd, None)
    assert again.words == "sks cat"
    np.testing.assert_allclose(paint(again.pipeline), wanted, atol=2e-5)


def test_two_loras_add_up(sd, tmp_path):
    trained = copied(sd)
    for name in ("one", "two"):
        write_peft(tmp_path / name, adapted(sd.unet, "unet"), "unet", {})
    add_all(trained, [tmp_path / "one", tmp_path / "two"])
    doubled = copied(sd)
    write_peft(tmp_path / "double", adapted(sd.unet, "unet"), "unet", {"lora_alpha": 8})
    add_lora(doubled, tmp_path / "double")
    np.testing.assert_allclose(paint(trained), paint(doubled), atol=2e-5)


def write(folder, tensors):
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(tensors, folder / "mine.safetensors")
    return folder


KEY = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_k"
LIKE = {
    "LoHa": ({f"{KEY}.hada_w1_a": torch.zeros(2, 2)}, "a LoHa"),
    "LoKr": ({f"{KEY}.lokr_w1": torch.zeros(2, 2)}, "a LoKr"),
    "DoRA": ({f"{KEY}.lora_up.weight": torch.zeros(16, 2), f"{KEY}.dora_scale": torch.zeros(16)}, "a DoRA"),
    "full": ({f"{KEY}.diff": torch.zeros(2, 2)}, "full differences"),
    "half": ({f"{KEY}.lora_up.weight": torch.zeros(16, 2)}, "it is damaged"),
    "another's": (
        {f"lora_unet_nowhere_to_k.lora_{way}.weight": torch.zeros(2, 2) for way in ("up", "down")},
        "of another pipeline",
    ),
    "nothing": ({"weight": torch.zeros(2)}, "no LoRA"),
}


@pytest.mark.parametrize(("tensors", "message"), LIKE.values(), ids=LIKE)
def test_what_is_no_lora_of_this_pipeline_is_refused_with_the_reason(tensors, message, sd, tmp_path):
    with pytest.raises(ValueError, match=message):
        add_lora(copied(sd), write(tmp_path / "lora", tensors))


def test_a_tensor_without_a_place_is_named(sd, tmp_path):
    write_diffusers(sd, tmp_path, adapted(sd.unet, "unet"), adapted(sd.text_encoder, "text_encoder"))
    file = tmp_path / "pytorch_lora_weights.safetensors"
    held = safetensors.torch.load_file(file)
    held |= {f"text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_{way}.weight": torch.ones(2, 2) for way in "AB"}
    safetensors.torch.save_file(held, file)
    with pytest.raises(ValueError, match=r"2 of \d+ tensors find no place in it: text_encoder_2"):
        add_lora(copied(sd), file)


def test_the_lora_of_xl_is_not_stable_diffusions(sd, xl, tmp_path):
    write_peft(tmp_path, adapted(xl.unet, "unet"), "unet", {})
    with pytest.raises(ValueError, match="another pipeline"):
        add_lora(copied(sd), tmp_path)


VECTORS = torch.randn(3, 32, generator=torch.Generator().manual_seed(5))
WORDS = {
    "diffusers": ("learned_embeds.safetensors", {"<cat-toy>": VECTORS[0]}, "<cat-toy>"),
    "diffusers, pickle": ("learned_embeds.bin", {"<cat-toy>": VECTORS[0]}, "<cat-toy>"),
    "several vectors": ("learned_embeds.bin", {"<cat-toy>": VECTORS}, "<cat-toy>"),
    "A1111": (
        "x.pt",
        {"string_to_token": {"*": 265}, "string_to_param": {"*": VECTORS}, "name": "cat-toy", "step": 5},
        "cat-toy",
    ),
    "the authors'": (
        "embeddings_gs-5.pt",
        {
            "string_to_token": {"*": torch.tensor(265)},
            "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTORS)}),
        },
        "embeddings_gs-5",
    ),
    "A1111, safe": ("cat-toy.safetensors", {"emb_params": VECTORS}, "cat-toy"),
}


@pytest.mark.parametrize(("file", "held", "word"), WORDS.values(), ids=WORDS)
def test_learnt_words_of_any_form_are_those_that_diffusers_would_load(file, held, word, sd, tmp_path):
    (safetensors.torch.save_file if file.endswith("safetensors") else torch.save)(held, tmp_path / file)
    fitted = METHODS["textual-inversion"].load(tmp_path, sd, None)
    assert fitted.words == word
    rows = VECTORS if fitted.vectors == 3 else VECTORS[0]
    direct = copied(sd)
    direct.load_textual_inversion({word: rows}, token=word)
    np.testing.assert_array_equal(paint(fitted.pipeline, f"a {word}"), paint(direct, f"a {word}"))
    assert np.abs(paint(direct, f"a {word}") - paint(sd, f"a {word}")).max() > 0.01
    fitted.save(tmp_path / "again")
    again = METHODS["textual-inversion"].load(tmp_path / "again", sd, None)
    np.testing.assert_array_equal(paint(again.pipeline, f"a {word}"), paint(direct, f"a {word}"))


def test_words_of_xl_say_which_pipeline_they_are_of(sd, xl, tmp_path):
    safetensors.torch.save_file(
        {"clip_l": torch.zeros(2, 32), "clip_g": torch.zeros(2, 32)}, tmp_path / "cat.safetensors"
    )
    assert [rows.shape for rows in read_words(tmp_path)["cat"]] == [(2, 32), (2, 32)]
    assert METHODS["textual-inversion"].load(tmp_path, xl, None).words == "cat"
    with pytest.raises(ValueError, match=r"vectors of 32 and 32 numbers for cat; .* take 32: it is of another kind"):
        METHODS["textual-inversion"].load(tmp_path, sd, None)


class Anything:
    """What a pickle may hold."""


@pytest.mark.parametrize("method", ["dreambooth-lora", "textual-inversion"])
def test_pickles_of_more_than_tensors_are_refused(method, sd, tmp_path):
    torch.save({"<x>": Anything()}, tmp_path / "mine.bin")
    with pytest.raises(ValueError, match=r"more than tensors.*get it as \.safetensors"):
        METHODS["textual-inversion"].load(tmp_path, sd, None)
    with pytest.raises(ValueError, match="more than tensors"):
        add_lora(copied(sd), tmp_path)


@pytest.mark.parametrize("parts", [("unet",), ("unet", "text_encoder"), None])
def test_a_folder_of_dreambooth_is_loaded_whole_or_its_network_alone(parts, sd, tmp_path):
    tuned = copied(sd)
    for name in parts or ("unet", "text_encoder"):
        for value in getattr(tuned, name).parameters():
            value.data += 0.01
    if parts is None:
        tuned.save_pretrained(tmp_path / "out")
    else:
        for name in parts:
            getattr(tuned, name).save_pretrained(tmp_path / "out" / name)
    fitted = METHODS["dreambooth"].load(tmp_path / "out", sd, "sks cat")
    np.testing.assert_array_equal(paint(fitted.pipeline), paint(tuned))
    assert np.abs(paint(tuned) - paint(sd)).max() > 0.01
    again = copied(sd)
    add_all(again, [tmp_path / "out"])
    np.testing.assert_array_equal(paint(again), paint(tuned))


def test_a_network_of_another_pipeline_is_refused(sd, xl, tmp_path):
    xl.unet.save_pretrained(tmp_path / "unet")
    with pytest.raises(ValueError, match=r"another pipeline than this StableDiffusionPipeline: .* weights of its unet"):
        METHODS["dreambooth"].load(tmp_path, sd, None)
    shutil.rmtree(tmp_path / "unet")
    with pytest.raises(FileNotFoundError, match="holds none of unet"):
        METHODS["dreambooth"].load(tmp_path, sd, None)


def test_a_text_encoder_that_would_come_back_random_is_refused(sd, tmp_path):
    sd.text_encoder.save_pretrained(tmp_path / "text_encoder")
    file = tmp_path / "text_encoder" / "model.safetensors"
    held = {f"other.{name}": value for name, value in safetensors.torch.load_file(file).items()}
    safetensors.torch.save_file(held, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks or does not fit"):
        METHODS["dreambooth"].load(tmp_path, sd, None)


def test_a_pipeline_saved_in_half_precision_has_one_dtype(sd, tmp_path):
    copied(sd).to(torch.float16).save_pretrained(tmp_path)
    for dtype in ("float32", "bfloat16"):
        loaded = load_model(str(tmp_path), dtype=dtype).pipeline
        found = {
            value.dtype for part in ("unet", "vae", "text_encoder") for value in getattr(loaded, part).parameters()
        }
        assert found == {getattr(torch, dtype)}


def test_generate_and_personalize_add_what_is_named(sd, tmp_path, capsys):
    model = stable_diffusion(tmp_path / "sd", safety_checker=False)
    write_peft(tmp_path / "lora", adapted(sd.unet, "unet"), "unet", {})
    torch.save({"<cat-toy>": VECTORS}, tmp_path / "toy.bin")
    (tmp_path / "names.txt").write_text("<cat-toy>\n")
    given = ["generate", "--model", str(model), "--categories", str(tmp_path / "names.txt"), "--triplets", "1"]
    given += ["--steps", "2", "--device", "cpu", "--out", str(tmp_path / "run")]
    added = ["--with", str(tmp_path / "lora"), "--with", str(tmp_path / "toy.bin")]
    for _ in range(2):  # begun, and gone on with
        assert main([*given, *added]) == 0
    row = read_rows(tmp_path / "run")[0]
    assert row["revision"].count("+") == 2
    direct = copied(sd)
    direct.load_textual_inversion({"<cat-toy>": VECTORS}, token="<cat-toy>")
    direct.unet = adapted(sd.unet, "unet")
    direct.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(row["seed"])
    wanted = direct(row["prompt"], num_inference_steps=2, generator=noise).images[0]
    with PIL.Image.open(tmp_path / "run" / row["path"]) as picture:
        assert np.abs(np.asarray(picture).astype(float) - np.asarray(wanted)).max() <= 1
    assert main(given) == 1  # the same folder without them
    assert "additions was" in capsys.readouterr().err
    assert main([*given[:-1], str(tmp_path / "other"), "--with", str(tmp_path / "nowhere")]) == 1
    assert "no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_a_one_file_checkpoint_is_read_by_the_configuration_of_its_kind_of_pipeline(ending, sd, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tuned, file = copied(sd), tmp_path / f"tuned.{ending}"
    for value in (*tuned.unet.parameters(), *tuned.text_encoder.parameters()):
        value.data += 0.01
    held = name_as_authors(tuned)
    if ending == "ckpt":
        torch.save({"state_dict": held, "global_step": 5}, file)
    else:
        safetensors.torch.save_file(held, file)
    fitted = METHODS["dreambooth"].load(file, sd, "sks cat")
    np.testing.assert_array_equal(paint(fitted.pipeline), paint(tuned))
    assert np.abs(paint(tuned) - paint(sd)).max() > 0.01
    add_all(again := copied(sd), [file])
    np.testing.assert_array_equal(paint(again), paint(tuned))
    with pytest.raises(OSError, match="name a pipeline of its kind as the model and add this file to it"):
        load_model(str(file))


@pytest.mark.parametrize("part", ["cond_stage_model", "model.diffusion_model.mid", "first_stage_model.decoder.conv_in"])
def test_a_one_file_checkpoint_that_lacks_something_is_refused(part, sd, tmp_path):
    held = {name: value for name, value in name_as_authors(sd).items() if not name.startswith(part)}
    safetensors.torch.save_file(held, tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match=r"is of another pipeline than|does not hold \d+ weights"):
        METHODS["dreambooth"].load(tmp_path / "half.safetensors", sd, None)
