"""Small pipelines with random weights of other families than Stable Diffusion's, each 32 × 32 pixels or so."""

import diffusers
import torch
from transformers import (
    CLIPImageProcessor,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from examples.mini_diffusion.diffusion import NOISE, tokenizer
from tests.pipelines import TEXTS, make_text_encoder, make_unet, make_vae

FLOW = diffusers.FlowMatchEulerDiscreteScheduler


def save(folder, make):
    torch.manual_seed(0)
    make().save_pretrained(folder)
    return folder


def latent_consistency():
    words = tokenizer(TEXTS)
    return diffusers.LatentConsistencyModelPipeline(
        vae=make_vae(),
        tokenizer=words,
        text_encoder=make_text_encoder(words),
        unet=make_unet(cross_attention_dim=32, time_cond_proj_dim=8),
        scheduler=diffusers.LCMScheduler(**NOISE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def masked_tokens():
    """aMUSEd: tokens of a codebook are unmasked, no noise."""
    words = tokenizer(TEXTS)
    return diffusers.AmusedPipeline(
        vqvae=diffusers.VQModel(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=1,
            latent_channels=8,
            num_vq_embeddings=16,
            vq_embed_dim=8,
            norm_num_groups=4,
            sample_size=32,
            mid_block_add_attention=False,
            lookup_from_codebook=True,
        ),
        tokenizer=words,
        text_encoder=make_text_encoder(words, CLIPTextModelWithProjection),
        transformer=diffusers.UVit2DModel(
            hidden_size=16,
            cond_embed_dim=32,
            micro_cond_encode_dim=2,
            micro_cond_embed_dim=10,
            encoder_hidden_size=32,
            vocab_size=32,
            codebook_size=16,
            in_channels=16,
            block_out_channels=16,
            num_res_blocks=1,
            block_num_heads=1,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=16,
            sample_size=16,
        ),
        scheduler=diffusers.AmusedScheduler(mask_token_id=31),
    )


def stable_diffusion_3():
    words = tokenizer(TEXTS)
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=64,
            caption_projection_dim=16,
            pooled_projection_dim=64,
            out_channels=4,
        ),
        scheduler=FLOW(shift=3.0),
        vae=make_vae(shift_factor=0.0),
        text_encoder=make_text_encoder(words, CLIPTextModelWithProjection),
        tokenizer=words,
        text_encoder_2=make_text_encoder(words, CLIPTextModelWithProjection),
        tokenizer_2=words,
        text_encoder_3=_t5(words, 64),
        tokenizer_3=words,
    )


def flux():
    words = tokenizer(TEXTS)
    return diffusers.FluxPipeline(
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(2, 2, 4),
        ),
        scheduler=FLOW(use_dynamic_shifting=True),
        vae=make_vae(shift_factor=0.0),
        text_encoder=make_text_encoder(words),
        tokenizer=words,
        text_encoder_2=_t5(words, 32),
        tokenizer_2=words,
    )


def pixart():
    words = tokenizer(TEXTS)
    return diffusers.PixArtSigmaPipeline(
        tokenizer=words,
        text_encoder=_t5(words, 32),
        vae=make_vae(),
        transformer=diffusers.PixArtTransformer2DModel(
            sample_size=32,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=32,
            cross_attention_dim=16,
            in_channels=4,
            out_channels=8,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(**NOISE),
    )


def kandinsky():
    """Kandinsky 2.2: a prior from words to CLIP's pictures, and a decoder from those."""
    words = tokenizer(TEXTS)
    vision = CLIPVisionConfig(
        hidden_size=32,
        image_size=32,
        projection_dim=32,
        num_attention_heads=2,
        num_hidden_layers=1,
        patch_size=16,
        intermediate_size=32,
    )
    return diffusers.KandinskyV22CombinedPipeline(
        unet=diffusers.UNet2DConditionModel(
            in_channels=4,
            out_channels=8,
            addition_embed_type="image",
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            block_out_channels=(8, 16),
            layers_per_block=1,
            encoder_hid_dim=32,
            encoder_hid_dim_type="image_proj",
            cross_attention_dim=16,
            attention_head_dim=4,
            resnet_time_scale_shift="scale_shift",
            norm_num_groups=4,
            class_embed_type=None,
        ),
        scheduler=diffusers.DDPMScheduler(variance_type="learned_range"),
        movq=diffusers.VQModel(
            block_out_channels=(32,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_type="spatial",
            num_vq_embeddings=12,
            vq_embed_dim=4,
        ),
        prior_prior=diffusers.PriorTransformer(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            embedding_dim=32,
            num_embeddings=words.model_max_length,
            additional_embeddings=4,
        ),
        prior_image_encoder=CLIPVisionModelWithProjection(vision),
        prior_text_encoder=make_text_encoder(words, CLIPTextModelWithProjection),
        prior_tokenizer=words,
        prior_scheduler=diffusers.UnCLIPScheduler(prediction_type="sample", clip_sample_range=10.0),
        prior_image_processor=CLIPImageProcessor(size=32, crop_size=32),
    )


def unconditional():
    return diffusers.DDPMPipeline(
        unet=diffusers.UNet2DModel(
            sample_size=16,
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            layers_per_block=1,
            norm_num_groups=4,
        ),
        scheduler=diffusers.DDPMScheduler(),
    )


def classes():
    return diffusers.DiTPipeline(
        transformer=diffusers.DiTTransformer2DModel(
            sample_size=16, num_layers=1, attention_head_dim=8, num_attention_heads=2, in_channels=4, out_channels=8
        ),
        vae=make_vae(),
        scheduler=diffusers.DDIMScheduler(),
    )


def text_to_video():
    words = tokenizer(TEXTS)
    return diffusers.AnimateDiffPipeline(
        vae=make_vae(),
        tokenizer=words,
        text_encoder=make_text_encoder(words),
        unet=make_unet(cross_attention_dim=32),
        motion_adapter=diffusers.MotionAdapter(
            block_out_channels=(8, 16),
            motion_layers_per_block=1,
            motion_norm_num_groups=4,
            motion_num_attention_heads=2,
        ),
        scheduler=diffusers.DDIMScheduler(**NOISE),
    )


def upscaler():
    words = tokenizer(TEXTS)
    return diffusers.StableDiffusionUpscalePipeline(
        vae=make_vae(scaling_factor=0.08333),
        tokenizer=words,
        text_encoder=make_text_encoder(words),
        unet=make_unet(cross_attention_dim=32, in_channels=7, num_class_embeds=1000),
        low_res_scheduler=diffusers.DDPMScheduler(),
        scheduler=diffusers.DDIMScheduler(**NOISE),
    )


PAINTERS = {
    make.__name__: make for make in (latent_consistency, masked_tokens, stable_diffusion_3, flux, pixart, kandinsky)
}
OTHERS = {make.__name__: make for make in (unconditional, classes, text_to_video, upscaler)}


def _t5(words, width):
    return T5EncoderModel(
        T5Config(
            vocab_size=len(words),
            d_model=width,
            d_kv=8,
            d_ff=16,
            num_layers=1,
            num_heads=2,
            pad_token_id=words.pad_token_id,
        )
    )
