"""mini-diffusion's text encoder and denoising network, trained together on captioned latents (Rombach et al. 2022).

    python -m examples.mini_diffusion.diffusion DATA OUT --vae VAE

The loss is the squared error of the predicted noise, steps weighted by min-SNR-5 (Hang et al. 2023); a tenth of the
captions is left out, for guidance without a classifier (Ho, Salimans 2022). OUT gets `pipeline/`, in float16 and
averaged over steps, which `StableDiffusionPipeline.from_pretrained` loads.
"""

import argparse
import copy
import json
import shutil
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import compute_snr
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from data_tools.trained.text_encoder import save_text_encoder
from dreamsim_metric.files.write import create_folder
from examples.mini_diffusion.loop import batch, options, read_images, run

LENGTH = 32  # tokens of a prompt
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}  # Stable Diffusion's
GAMMA = 5  # min-SNR's
UNTOLD = 0.1  # share of captions left out


def tokenizer(texts: list[str], size: int = 1000) -> CLIPTokenizer:
    """Make a tokenizer of CLIP's kind: whole words learnt from the captions, the rest in letters, or bytes."""
    letters = sorted(ByteLevel.alphabet())
    last = [letter + "</w>" for letter in letters]

    def of(merges: list[tuple[str, str]]) -> CLIPTokenizer:
        tokens = [*letters, *last, *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
        vocabulary = {token: index for index, token in enumerate(tokens)}
        return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)

    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    plain = of([]).backend_tokenizer
    learner.normalizer, learner.pre_tokenizer = plain.normalizer, plain.pre_tokenizer
    # Named in advance, as special tokens: else they are numbered by chance, and pairs as frequent as others with them.
    trainer = BpeTrainer(
        vocab_size=size,
        initial_alphabet=letters,
        special_tokens=last,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    return of([tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]])


def text_encoder(words: CLIPTokenizer) -> CLIPTextModel:
    """Make the untrained text encoder, half a million parameters."""
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=128,
        **ids,
    )
    return CLIPTextModel(config)


def denoiser(size: int) -> UNet2DConditionModel:
    """Make the untrained network, 4 million parameters: self- and cross-attention at half the latents' resolution."""
    return UNet2DConditionModel(
        sample_size=size,
        block_out_channels=(32, 96, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,  # the number of heads: diffusers keeps the name that it began with
        norm_num_groups=8,
    )


@torch.no_grad()
def latents(vae: AutoencoderKL, pixels: Tensor, device: str) -> Tensor:
    """Encode every picture (N), then its mirror image: means and log variances, float16, (2 N, 8, h, w)."""
    found = []
    for mirrored in (False, True):
        for start in tqdm(range(0, len(pixels), 256), desc="encoding", unit="batch", mininterval=5):
            part = pixels[start : start + 256].to(device).float() / 127.5 - 1
            parameters = vae.encode(part.flip(-1) if mirrored else part).latent_dist.parameters
            found.append(parameters.half().cpu())
    return torch.cat(found)


def main(args: argparse.Namespace) -> None:
    """Train, and write the pipeline."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    pixels, texts = read_images(args.data)
    words = tokenizer([text for captions in texts for text in captions])
    vae = AutoencoderKL.from_pretrained(args.vae).to(args.device).requires_grad_(False)
    encoded = latents(vae, pixels, args.device)
    unique = {text: index for index, text in enumerate(dict.fromkeys(["", *(text for some in texts for text in some)]))}
    ids = words(list(unique), padding="max_length", truncation=True, return_tensors="pt").input_ids
    choices = [torch.tensor([unique[text] for text in some]) for some in texts]
    schedule = DDPMScheduler(**NOISE)
    snr = compute_snr(schedule, torch.arange(1000))
    weight = (snr.clamp(max=GAMMA) / snr).to(args.device)
    parts = {"text_encoder": text_encoder(words).to(args.device), "unet": denoiser(encoded.shape[-1]).to(args.device)}
    averages = {name: copy.deepcopy(part).requires_grad_(False) for name, part in parts.items()}

    def loss(step: int) -> Tensor:
        random = torch.Generator().manual_seed(args.seed + step)
        rows = batch(len(texts), args.batch_size, step, args.seed)
        count = len(rows)
        mirrored = torch.randint(0, 2, (count,), generator=random) * len(texts)
        mean, spread = encoded[rows + mirrored].float().chunk(2, dim=1)
        sampled = mean + (spread.clamp(-30, 20) / 2).exp() * torch.randn(mean.shape, generator=random)
        noise = torch.randn(mean.shape, generator=random)
        times = torch.randint(0, 1000, (count,), generator=random)
        noisy = schedule.add_noise(sampled * vae.config.scaling_factor, noise, times)
        at = torch.rand(2, count, generator=random)
        told = [choices[row][int(share * len(choices[row]))] for row, share in zip(rows.tolist(), at[0], strict=True)]
        prompt = ids[torch.stack(told) * (at[1] >= UNTOLD)]  # the first text is the empty one
        noisy, noise, times, prompt = (tensor.to(args.device) for tensor in (noisy, noise, times, prompt))
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bfloat16"):
            states = parts["text_encoder"](prompt).last_hidden_state
            predicted = parts["unet"](noisy, times, states).sample
        return (weight[times] * F.mse_loss(predicted.float(), noise, reduction="none").mean((1, 2, 3))).mean()

    for _ in run(args, parts, loss, averages):
        save(args.out / "pipeline", vae, words, averages)


def save(folder: Path, vae: AutoencoderKL, words: CLIPTokenizer, parts: dict[str, torch.nn.Module]) -> None:
    """Write or replace the pipeline."""
    pipeline = StableDiffusionPipeline(
        vae=copy.deepcopy(vae),
        tokenizer=words,
        **{name: copy.deepcopy(part) for name, part in parts.items()},
        scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype=torch.float16)
    with create_folder(folder) as beside:
        pipeline.save_pretrained(beside)
        save_text_encoder(pipeline.text_encoder, beside / "text_encoder")
        # transformers, unlike diffusers, loads the dtype that it saved, and a pipeline of two would not run.
        config = beside / "text_encoder" / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "float32"}, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = options("Train a small text-to-image model on an image folder with captions.")
    parser.add_argument("--vae", type=Path, required=True, metavar="PATH", help="folder of the autoencoder")
    main(parser.parse_args())
