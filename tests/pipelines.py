"""Small text-to-image pipelines with random weights, in the layouts of released ones, made without a hub."""

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
)

from examples.mini_diffusion.diffusion import NOISE, tokenizer

TEXTS = ["an image of a cat", "a photo of a red apple"]


def stable_diffusion(folder, safety_checker=True):
    """Stable Diffusion 1.5's layout, safety checker included; 32 × 32 pixels."""
    torch.manual_seed(0)
    words = tokenizer(TEXTS)
    clip = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    checker = CLIPConfig(
        text_config=clip, vision_config={**clip, "image_size": 32, "patch_size": 16}, projection_dim=16
    )
    pipeline = diffusers.StableDiffusionPipeline(
        vae=make_vae(),
        tokenizer=words,
        text_encoder=make_text_encoder(words),
        unet=make_unet(cross_attention_dim=32),
        scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=StableDiffusionSafetyChecker(checker) if safety_checker else None,
        feature_extractor=CLIPImageProcessor(size=32, crop_size=32) if safety_checker else None,
        requires_safety_checker=safety_checker,
    )
    pipeline.save_pretrained(folder)
    return folder


def stable_diffusion_xl(folder):
    """Stable Diffusion XL's layout: two text encoders, sizes as conditions."""
    torch.manual_seed(0)
    words = tokenizer(TEXTS)
    unet = make_unet(
        cross_attention_dim=64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    )
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=make_vae(),
        tokenizer=words,
        tokenizer_2=words,
        text_encoder=make_text_encoder(words),
        text_encoder_2=make_text_encoder(words, CLIPTextModelWithProjection),
        unet=unet,
        scheduler=EulerDiscreteScheduler(**NOISE, steps_offset=1, timestep_spacing="leading"),
    )
    pipeline.save_pretrained(folder)
    return folder


def make_vae(**options):
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        **options,
    )


def make_text_encoder(words, kind=CLIPTextModel):
    return kind(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=words.model_max_length,
            projection_dim=32,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )


def make_unet(**options):
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        norm_num_groups=4,
        **options,
    )
