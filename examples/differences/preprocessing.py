"""Rows about decoding, resizing and colours."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.images.encoding import encode
from dreamsim_metric.networks.positions import resample_positions
from examples.differences.photographs import ASTRONAUT, apart, levels, photograph, pixels
from examples.differences.rows import Row

SIDE = 224


def resized_by(picture: PIL.Image.Image) -> dict[str, Callable[[], float]]:
    """Compare ways to 224 × 224 pixels with Pillow's bicubic: the largest difference in levels."""
    expected = levels(picture.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC))
    array = levels(picture)

    def by_torch(antialias: bool) -> float:
        found = F.interpolate(pixels(picture), (SIDE, SIDE), mode="bicubic", antialias=antialias)
        return apart((255 * found[0]).clamp(0, 255).permute(1, 2, 0).numpy(), expected)

    def by_torchvision() -> float:
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2.functional import resize

        whole = torch.from_numpy(array.copy()).permute(2, 0, 1)
        found = resize(whole, [SIDE, SIDE], InterpolationMode.BICUBIC, antialias=True)
        return apart(found.permute(1, 2, 0).numpy(), expected)

    def by_opencv(area: bool) -> float:
        import cv2

        way = cv2.INTER_AREA if area else cv2.INTER_CUBIC
        return apart(cv2.resize(array, (SIDE, SIDE), interpolation=way), expected)

    def by_skimage() -> float:
        from skimage.transform import resize

        found = resize(array, (SIDE, SIDE), order=3, anti_aliasing=True, preserve_range=True)
        return apart(found.clip(0, 255), expected)

    def by_kornia() -> float:
        from kornia.geometry.transform import resize

        found = resize(pixels(picture), (SIDE, SIDE), interpolation="bicubic", antialias=True)
        return apart((255 * found[0]).clamp(0, 255).permute(1, 2, 0).numpy(), expected)

    return {
        "torchvision: 8-bit tensor": by_torchvision,
        "torch: interpolate, antialias": lambda: by_torch(True),
        "torch: interpolate": lambda: by_torch(False),
        "opencv-python-headless: INTER_CUBIC": lambda: by_opencv(False),
        "opencv-python-headless: INTER_AREA": lambda: by_opencv(True),
        "scikit-image: order 3, anti_aliasing": by_skimage,
        "kornia: bicubic, antialias": by_kornia,
        "dreamsim_metric": lambda: apart(
            (255 * to_pixels(picture, (SIDE, SIDE))[0]).permute(1, 2, 0).numpy(), expected
        ),
    }


def resizing() -> Row:
    """Resize a square photograph."""
    return Row(
        "Resizing a 512 × 512 photograph to 224 × 224: largest difference from Pillow's bicubic, levels of 255",
        resized_by(photograph()),
        "filters that widen when they shrink a picture, or do not; a = −0.5 or −0.75; rounding between passes; a "
        "Gaussian blur in place of the wider filter",
        "Pillow's bits, on every device",
        tolerance=1.5,
    )


def resizing_tall() -> Row:
    """Resize a tall picture."""
    tools = resized_by(photograph(200, 512))
    kept = ("torchvision: 8-bit tensor", "torch: interpolate, antialias", "dreamsim_metric")
    return Row(
        "The same of a 200 × 512 photograph",
        {name: tools[name] for name in kept},
        "Pillow 13 shrinks the height first where it loses over twice what the width loses; torchvision never does",
        "the installed Pillow's order: [precision.md](precision.md#what-can-still-move-a-number)",
        tolerance=1.5,
    )


def area() -> Row:
    """Shrink by "area" in two libraries."""
    picture = photograph(500, 500)

    def by_opencv() -> np.ndarray:
        import cv2

        return np.asarray(cv2.resize(levels(picture), (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=float)

    def by_torch() -> float:
        found = F.interpolate(255 * pixels(picture), (SIDE, SIDE), mode="area")[0]
        return apart(found.permute(1, 2, 0).numpy(), by_opencv())

    def by_pillow() -> float:
        return apart(levels(picture.resize((SIDE, SIDE), PIL.Image.Resampling.BOX)), by_opencv())

    return Row(
        "Shrinking 500 × 500 to 224 × 224 by area: largest difference from OpenCV's INTER_AREA, levels of 255",
        {"torch: interpolate, area": by_torch, "pillow: BOX": by_pillow},
        "PyTorch and Pillow average whole pixels; OpenCV weighs those at a window's edges by what they share with it",
        "not used",
        tolerance=1.5,
    )


def thumbnails() -> Row:
    """Make a thumbnail of a file that is read, and of one that is not yet."""

    def by_pillow(loaded: bool) -> PIL.Image.Image:
        picture = PIL.Image.open(ASTRONAUT)
        if loaded:
            picture.load()
        picture.thumbnail((100, 100))
        return picture

    return Row(
        "`thumbnail((100, 100))` of a JPEG just opened and after `load()`: largest difference, levels of 255",
        {"pillow": lambda: apart(levels(by_pillow(False)), levels(by_pillow(True)))},
        "a JPEG that is not read yet is decoded at a fraction of its size",
        "files are decoded at their full size",
        tolerance=1,
    )


def clip_crops() -> Row:
    """Crop to a square as two CLIPs do."""
    picture = photograph(600, 401)

    def by_torchvision() -> np.ndarray:
        import open_clip

        transform = open_clip.image_transform(SIDE, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
        made: Tensor = transform(picture)
        return 255 * made.permute(1, 2, 0).numpy()

    def by_transformers() -> float:
        from transformers import CLIPImageProcessor

        processor = CLIPImageProcessor(image_mean=[0, 0, 0], image_std=[1, 1, 1])
        found = processor(picture, return_tensors="pt")["pixel_values"][0]
        return apart(255 * found.permute(1, 2, 0).numpy(), by_torchvision())

    return Row(
        "CLIP's preprocessing of a 600 × 401 photograph: largest difference from open_clip's, levels of 255",
        {"transformers: CLIPImageProcessor": by_transformers},
        "the crop of an odd surplus begins at int(55.5) = 55 or at round(55.5) = 56",
        "as open_clip",
        tolerance=3,
    )


def position_tables() -> Row:
    """Enlarge a table of positions from 14 × 14 to 28 × 28."""
    table = torch.randn(1, 197, 64, generator=torch.Generator().manual_seed(0))
    expected = resample_positions(table, 1 + 28**2, "dino")

    def by_timm() -> float:
        from timm.layers import resample_abs_pos_embed

        return float((resample_abs_pos_embed(table, [28, 28]) - expected).abs().max())

    def by_transformers() -> float:
        from transformers import ViTConfig, ViTModel

        config = ViTConfig(hidden_size=64, num_hidden_layers=0, num_attention_heads=1, intermediate_size=4)
        embeddings = ViTModel(config, add_pooling_layer=False).embeddings
        with torch.no_grad():
            embeddings.position_embeddings.copy_(table)
            found = embeddings.interpolate_pos_encoding(torch.zeros(1, 1 + 28**2, 64), 448, 448)
        return float((found - expected).abs().max())

    return Row(
        "A position table of unit variance from 14 × 14 to 28 × 28: largest difference from the rule of DINO's authors",
        {"timm: resample_abs_pos_embed": by_timm, "transformers: ViT": by_transformers},
        "PyTorch's antialiased bicubic has a = −0.5 and the plain one −0.75, so that antialiasing changes an "
        "*enlargement*; the authors scale by (n + 0.1) / n",
        "the authors' rule",
        tolerance=0.01,
    )


def greys() -> Row:
    """Turn pure blue into grey."""
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[..., 2] = 255

    def by_skimage() -> float:
        from skimage.color import rgb2gray

        return float(255 * rgb2gray(blue)[0, 0])

    def by_opencv() -> float:
        import cv2

        return float(cv2.cvtColor(blue, cv2.COLOR_RGB2GRAY)[0, 0])

    def by_kornia() -> float:
        from kornia.color import rgb_to_grayscale

        return float(255 * rgb_to_grayscale(pixels(PIL.Image.fromarray(blue))).flatten()[0])

    return Row(
        "Grey of pure blue, levels of 255",
        {
            "pillow": lambda: float(levels(PIL.Image.fromarray(blue).convert("L"))[0, 0]),
            "opencv-python-headless": by_opencv,
            "kornia": by_kornia,
            "scikit-image": by_skimage,
        },
        "weights of BT.601 (0.114) or of BT.709 (0.0721)",
        "pictures stay in colour",
        tolerance=0.1,
    )


def deep_greys() -> Row:
    """Read a 16-bit grey file of half the brightness."""
    file = io.BytesIO(encode(PIL.Image.fromarray(np.full((8, 8), 32768, np.uint16)), "PNG"))

    def by_opencv() -> float:
        import cv2

        return float(cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR)[0, 0, 0])

    def by_torchvision() -> float:
        from torchvision.transforms.functional import to_tensor

        return float(to_tensor(PIL.Image.open(file)).double().mean())

    return Row(
        "A 16-bit grey PNG, all pixels 32,768 of 65,535: brightness as read, levels of 255",
        {
            "pillow: convert('RGB')": lambda: float(levels(PIL.Image.open(file).convert("RGB"))[0, 0, 0]),
            "opencv-python-headless: IMREAD_COLOR": by_opencv,
            "torchvision: to_tensor": by_torchvision,
            "dreamsim_metric": lambda: float(255 * to_pixels(PIL.Image.open(file), None).mean()),
        },
        "clipped to 255, or the upper byte alone; `to_tensor` gives the 16 bits as signed numbers, not scaled",
        "scaled",
        tolerance=0.01,
    )


def white_is_zero() -> Row:
    """Read a grey TIFF whose zero is white."""

    def written(read: Callable[[Path], np.ndarray]) -> float:
        import tifffile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "white.tif"
            tifffile.imwrite(path, np.zeros((8, 8), np.uint8), photometric="miniswhite")
            return float(read(path).mean())

    def by_tifffile(path: Path) -> np.ndarray:
        import tifffile

        return np.asarray(tifffile.imread(path))

    def by_opencv(path: Path) -> np.ndarray:
        import cv2

        return np.asarray(cv2.imread(str(path)))

    return Row(
        "A white TIFF stored as zeros (`WhiteIsZero`): brightness as read, levels of 255",
        {
            "tifffile": lambda: written(by_tifffile),
            "opencv-python-headless": lambda: written(by_opencv),
            "pillow": lambda: written(lambda path: levels(PIL.Image.open(path).convert("RGB"))),
            "dreamsim_metric": lambda: written(lambda path: 255 * to_pixels(path, None).numpy()),
        },
        "tifffile, and with it imageio and scikit-image, gives the numbers as they are stored",
        "white",
        tolerance=0.01,
    )


def contrast() -> Row:
    """Raise the contrast by a fifth."""
    picture = photograph()

    def by_torchvision() -> Tensor:
        from torchvision.transforms.v2.functional import adjust_contrast

        return adjust_contrast(pixels(picture), 1.2)

    def by_kornia() -> Tensor:
        from kornia.enhance import adjust_contrast

        return adjust_contrast(pixels(picture), 1.2)

    return Row(
        "Mean brightness, 0 to 1, after `adjust_contrast(photograph, 1.2)`",
        {
            "torchvision": lambda: float(by_torchvision().mean()),
            "kornia": lambda: float(by_kornia().mean()),
        },
        "torchvision stretches about the mean grey, kornia about black",
        "not used; the changes of `dreamsim-bench sensitivity` are our own",
        tolerance=0.002,
    )


ROWS = (
    resizing,
    resizing_tall,
    area,
    thumbnails,
    clip_crops,
    position_tables,
    greys,
    deep_greys,
    white_is_zero,
    contrast,
)
