"""mini-diffusion's autoencoder: 64 × 64 pixels to 16 × 16 latents of four channels, and back (Rombach et al. 2022).

    python -m examples.mini_diffusion.autoencoder DATA OUT --lpips alexnet.ckpt

Absolute error and LPIPS against the pictures, and very little Kullback-Leibler divergence. OUT gets `vae/`.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from benchmarks.metrics.base import Options
from benchmarks.metrics.registry import find_metrics
from examples.mini_diffusion.loop import batch, options, read_images, run


def network(size: int) -> AutoencoderKL:
    """Make the untrained network, 0.65 million parameters."""
    return AutoencoderKL(
        sample_size=size,
        latent_channels=4,
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def main(args: argparse.Namespace) -> None:
    """Train, and write the network with the scale that makes its latents' variance one."""
    torch.manual_seed(args.seed)
    pixels, _ = read_images(args.data)
    vae = network(pixels.shape[-1]).to(args.device)
    lpips = find_metrics(["lpips-alex"])["lpips-alex"](Options(weights=(args.lpips,), device=torch.device(args.device)))

    def loss(step: int) -> Tensor:
        random = torch.Generator(args.device).manual_seed(args.seed + step)
        truth = pixels[batch(len(pixels), args.batch_size, step, args.seed)].to(args.device).float() / 255
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bfloat16"):
            encoded = vae.encode(2 * truth - 1).latent_dist
            made = vae.decode(encoded.sample(generator=random)).sample.float() / 2 + 0.5
            with torch.no_grad():
                features = lpips.features(truth)
            perceived = lpips.compare(lpips.features(made), features).float().mean()
        return F.l1_loss(made, truth) + args.perceptual * perceived + 1e-6 * encoded.kl().float().mean()

    for _ in run(args, {"vae": vae}, loss):
        pass
    with torch.no_grad():
        some = pixels[:: max(1, len(pixels) // 1000)].to(args.device).float() / 127.5 - 1
        latents = vae.encode(some).latent_dist.mode()
        error = (vae.decode(latents).sample.clamp(-1, 1) - some).square().mean((1, 2, 3)) / 4
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    vae.save_pretrained(args.out / "vae")
    print(f"peak signal-to-noise ratio {-10 * error.log10().mean().item():.2f} dB, scale {vae.config.scaling_factor}")


if __name__ == "__main__":
    parser = options("Train the autoencoder of a small text-to-image model.", steps=2800, batch_size=16, lr=2e-3)
    parser.add_argument("--lpips", type=Path, required=True, metavar="PATH", help="file of AlexNet's weights")
    parser.add_argument("--perceptual", type=float, default=0.5, metavar="N", help="weight of LPIPS in the loss")
    main(parser.parse_args())
