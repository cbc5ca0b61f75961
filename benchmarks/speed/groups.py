"""What is compared with what: the groups of `dreamsim-bench speed`."""

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.contenders import Variant, count_flops, make_random_metric
from benchmarks.speed.measure import Contest, Subject
from benchmarks.speed.pictures import draw_batch, draw_picture, write_jpegs
from benchmarks.speed.plan import Plan
from benchmarks.speed.startup import list_batch_contests, list_first_contests
from dreamsim_metric import embed, list_models, load
from dreamsim_metric.distances import compare_all
from dreamsim_metric.images.ahead import count_workers
from dreamsim_metric.models import MODELS
from dreamsim_metric.scale.embedding import Embedder, Options

RELEASED = "released"  # subject: the released package as its README runs it
_MANY = 32
_SIZE = 64  # of the pictures whose number grows
_VIT = (768, 3072)  # in and out of the largest product of a ViT-B
_SIDE = 8192  # of the square product that a GPU's peak is measured with


def _make_ours(plan: Plan, name: str, variant: Variant, a: Tensor, b: Tensor, same: bool = False) -> Subject:
    def make() -> Callable[[], Tensor]:
        metric = plan.contenders.ours(name, variant)
        return lambda: metric(a, b)

    pairs = max(len(a), len(b))
    return Subject(str(variant), make, pairs, model=name, precision=variant.precision, same=same)


def _make_released(plan: Plan, a: Tensor, b: Tensor, name: str = RELEASED) -> Subject:
    def make() -> Callable[[], Tensor]:
        model = plan.contenders.released(plan.model)
        return lambda: model(a, b)

    return Subject(name, make, len(a), "dreamsim", plan.model)


def _compare(
    make: Callable[[], Callable[[Tensor, Tensor], object]],
    name: str,
    package: str,
    a: Tensor,
    b: Tensor,
    model: str = "",
) -> Subject:
    def made() -> Callable[[], object]:
        compare = make()
        return lambda: compare(a, b)

    return Subject(name, made, len(a), package, model)


def time_distances(plan: Plan) -> Iterator[Contest]:
    """Compare pairs of pictures in memory: the released package, ours on the same weights, plain timm with a cosine."""
    for threads in plan.threads:
        for size in plan.batches:
            a, b = plan.pairs(size)
            timm = functools.partial(plan.contenders.timm_cosine, plan.model)
            subjects = [
                _make_released(plan, a, b),
                *(_make_ours(plan, plan.model, variant, a, b, same=True) for variant in plan.variants),
                _compare(timm, "timm + cosine", "timm", a, b, model=plan.model),
            ]
            yield Contest("distance", subjects, device=plan.device, threads=threads, batch=size)
    if plan.device != "cpu":  # what a user of the released README gains: one pair at a time against a full batch
        one, (a, b) = plan.pairs(1), plan.pairs(plan.largest)
        own = [_make_ours(plan, plan.model, variant, a, b) for variant in plan.variants]
        subjects = [_make_released(plan, *one, name="released, a pair at a time"), *own]
        yield Contest("readme", subjects, device=plan.device, batch=plan.largest)


def time_peers(plan: Plan) -> Iterator[Contest]:
    """Compare mini with metrics of other packages, at 224²."""
    a, b = plan.pairs(2 if plan.quick else 8)
    made = plan.contenders
    ssim = "structural_similarity_index_measure"
    others: list[tuple[str, str, Callable[[], Callable[[Tensor, Tensor], object]]]] = [
        ("LPIPS-Alex", "lpips", lambda: made.lpips("alex")),
        ("LPIPS-Squeeze", "lpips", lambda: made.lpips("squeeze")),
        ("LPIPS-VGG", "lpips", lambda: made.lpips("vgg")),
        ("LPIPS-Alex of torchmetrics", "torchmetrics", lambda: made.torchmetrics_lpips("alex")),
        ("SSIM of torchmetrics", "torchmetrics", lambda: made.formula("torchmetrics", ssim)),
        ("SSIM", "piq", lambda: made.formula("piq", "ssim")),
        ("GMSD", "piq", lambda: made.formula("piq", "gmsd")),
        ("FSIM", "piq", lambda: made.formula("piq", "fsim")),
    ]
    if plan.quick:
        others = [others[0], others[6]]
    first, *rest = (_compare(make, name, package, a, b) for name, package, make in others)
    own = [_make_ours(plan, "mini", variant, a, b) for variant in plan.variants]
    if plan.device == "cpu" and not plan.quick:  # half a minute to export
        exported = functools.partial(made.exported, "mini")
        own.append(_compare(exported, "ours exported, ONNX Runtime", "onnxruntime", a, b, model="mini"))
    for threads in plan.threads:
        yield Contest("peers", [first, *own, *rest], device=plan.device, threads=threads, batch=len(a))


def time_one_to_many(plan: Plan) -> Iterator[Contest]:
    """Compare a reference with 32: the released package's pairwise call, its `embed`, and ours."""
    count = 4 if plan.quick else _MANY
    reference, many = plan.pairs(1)[0], draw_batch(count, first=1).to(plan.device)

    def pairwise() -> Callable[[], Tensor]:
        model = plan.contenders.released(plan.model)
        return lambda: model(reference.expand(count, -1, -1, -1), many)

    def embedded() -> Callable[[], Tensor]:
        model = plan.contenders.released(plan.model)
        return lambda: 1 - F.cosine_similarity(model.embed(reference), model.embed(many))

    subjects = [
        Subject(RELEASED, pairwise, count, "dreamsim", plan.model),
        Subject("released, its embed", embedded, count, "dreamsim", plan.model, same=True),
        *(_make_ours(plan, plan.model, variant, reference, many, same=True) for variant in plan.variants),
    ]
    yield Contest("one-to-many", subjects, device=plan.device, threads=plan.threads[0], batch=count)


def time_models(plan: Plan) -> Iterator[Contest]:
    """Time an embedding of each of our models, on random weights: the column "time" of the README."""
    names = ["ensemble", *(name for name in list_models() if name != "ensemble")]
    if plan.quick:
        names = ["clip_vitb32", "mini"]
    pixels = draw_batch(1 if plan.quick else 8).to(plan.device)

    def subject(name: str) -> Subject:
        def make() -> Callable[[], Tensor]:
            metric = (make_random_metric(MODELS[name]) if name in MODELS else load(name)).to(plan.device)
            return lambda: metric.embed(pixels, check=False)

        return Subject(name, make, len(pixels), model=name)

    subjects = [subject(name) for name in names]
    yield Contest("models", subjects, "picture", plan.device, plan.threads[0], len(pixels))


def time_files(plan: Plan) -> Iterator[Contest]:
    """Time JPEG files of 1024 × 768 to embeddings; the limits are decoding alone, and the model alone."""
    counts = {"mini": 8} if plan.quick else {"mini": 128, plan.model: 12}
    if plan.device != "cpu":
        counts = {"mini": 256} if plan.quick else {plan.model: 1024, "mini": 1024}
    size = 8 if plan.quick else 32 if plan.device == "cpu" else 64
    with tempfile.TemporaryDirectory(prefix="dreamsim-speed-") as folder:
        paths = write_jpegs(Path(folder), max(counts.values()))
        for name, count in counts.items():
            variant = plan.variants[0] if plan.device == "cpu" else plan.fastest
            subjects = list(_make_file_subjects(plan, name, variant, paths[:count], min(size, count)))
            yield Contest("files", subjects, "picture", plan.device, plan.all_threads, size, references=2,
                          reference="slowest")  # fmt: skip


def _make_file_subjects(plan: Plan, name: str, variant: Variant, paths: Sequence[str], size: int) -> Iterator[Subject]:
    given: dict[str, Any] = {"count": len(paths), "model": name, "precision": variant.precision}

    def decoding() -> None:
        with ThreadPoolExecutor(count_workers(None)) as pool:
            for _ in pool.map(_decode, paths):
                pass

    def model() -> Callable[[], object]:
        metric, pixels = plan.contenders.ours(name, variant), draw_batch(size).to(plan.device)
        return lambda: [metric.embed(pixels[: len(paths) - i], check=False) for i in range(0, len(paths), size)]

    def embedder(place: Any) -> Callable[[], object]:
        metric = plan.contenders.ours(name, variant)
        run = Embedder(metric, options=Options(batch_size=size, on_error="raise", resize_on=place))
        return lambda: run(paths).units

    def plain() -> Callable[[], object]:
        metric = plan.contenders.ours(name, variant)
        return lambda: embed(paths, model=metric, batch_size=size)

    yield Subject("limit: decoding", lambda: decoding, **given)
    yield Subject("limit: model", model, **given)
    for place in ["host"] if plan.device == "cpu" else ["host", "device"]:
        yield Subject(f"Embedder, resized on the {place}", functools.partial(embedder, place), **given)
    yield Subject("embed(paths)", plain, **given)
    if name == plan.model:
        few = paths[:128]  # it is slow
        yield Subject(RELEASED, lambda: _embed_as_released(plan, few), len(few), "dreamsim", name)


def _decode(path: str) -> None:
    """Decode a file, which any program has to do at least."""
    with PIL.Image.open(path) as image:
        image.load()


def _embed_as_released(plan: Plan, paths: Sequence[str]) -> Callable[[], object]:
    """Embed a file at a time, the way of its README."""
    from torchvision import transforms
    from torchvision.transforms.functional import InterpolationMode

    model = plan.contenders.released(plan.model)
    resize = transforms.Resize((224, 224), interpolation=InterpolationMode.BICUBIC)
    preprocess = transforms.Compose([resize, transforms.ToTensor()])

    def run() -> Tensor:
        opened = (PIL.Image.open(path).convert("RGB") for path in paths)
        return torch.cat([model.embed(preprocess(image)[None].to(plan.device)).cpu() for image in opened])

    return run


def time_growth(plan: Plan) -> Iterator[Contest]:
    """Time how time and memory grow with pictures, with the sides of a matrix of distances, and with the batch."""
    steps = [10, 100] if plan.quick else [int(n) for n in np.logspace(2, 5, 7).round(-1)]
    for count in (n for n in steps if n <= plan.max_pictures):
        subject = Subject("embed(pictures)", functools.partial(_embed_many, plan, count), count, model="mini")
        yield Contest("growth", [subject], "picture", plan.device, plan.all_threads, 32, "pictures", count)
    for side in [10, 50] if plan.quick else [100, 300, 1000, 3000] + [10_000] * (plan.device != "cpu"):
        units = F.normalize(
            torch.randn(side, 1792, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu"),
            dim=1,
        ).to(plan.device)
        subject = Subject("matrix of distances", functools.partial(_time_matrix, units), side * side)
        yield Contest("growth", [subject], "pair", plan.device, plan.all_threads, 1, "sides of a matrix", side)
    name = "mini" if plan.device == "cpu" else plan.model
    for size in [1, 2] if plan.quick else [2**i for i in range(7 if plan.device == "cpu" else 10)]:
        pixels = torch.rand(1, 3, 224, 224, dtype=torch.float32, device="cpu").to(plan.device).expand(size, -1, -1, -1)
        subject = Subject(name, functools.partial(_embed, plan, name, pixels), size, model=name)
        yield Contest("growth", [subject], "picture", plan.device, plan.all_threads, size, "batch", size)


def _embed_many(plan: Plan, count: int) -> Callable[[], Tensor]:
    metric = load("mini", image_size=_SIZE, device=plan.device)
    pictures = (
        torch.from_numpy(np.array(draw_picture(0, _SIZE, _SIZE))).permute(2, 0, 1)[None].expand(count, -1, -1, -1)
    )
    return lambda: embed(pictures.to(plan.device), model=metric)


def _time_matrix(units: Tensor) -> Callable[[], Tensor]:
    return lambda: compare_all(units, units)


def _embed(plan: Plan, name: str, pixels: Tensor) -> Callable[[], Tensor]:
    metric = plan.contenders.ours(name, Variant() if plan.device == "cpu" else plan.fastest)
    return lambda: metric.embed(pixels, check=False)


def time_peak(plan: Plan) -> Iterator[Contest]:
    """Time matrix products and the models per GFLOP: the ratio to the fastest product is the fraction of the peak."""
    size = 2 if plan.quick else 8 if plan.device == "cpu" else plan.largest
    for precision in dict.fromkeys(variant.precision for variant in plan.variants):
        if precision not in ("float32", "bfloat16"):
            continue
        products = list(_time_products(plan, precision, size))
        own = [variant for variant in plan.variants if variant.precision == precision]
        subjects = [*products, *(_divide_by_gflop(plan, variant, size) for variant in own)]
        if precision == "float32":
            pixels = draw_batch(size).to(plan.device)
            made = functools.partial(_make_released_embed, plan, pixels)
            done = count_flops(MODELS[plan.model], whole=True) * size / 1e9
            subjects.append(Subject(RELEASED, made, done, "dreamsim", plan.model))
        yield Contest("peak", subjects, "GFLOP", plan.device, plan.threads[0], size, references=len(products))


def _time_products(plan: Plan, precision: str, size: int) -> Iterator[Subject]:
    dtype = getattr(torch, precision)
    rows, (width, out) = 197 * size, _VIT
    if plan.device != "cpu":
        rows = width = out = 1024 if plan.quick else _SIDE
    shapes = (rows, width), (out, width), (out,)
    x, weight, bias = (torch.randn(some, dtype=torch.float32, device=plan.device).to(dtype) for some in shapes)
    done = 2 * rows * width * out / 1e9
    shape = f"{rows} × {width} × {out}"
    given: dict[str, Any] = {"count": done, "package": "torch", "precision": precision}
    yield Subject(f"product {shape}, linear", lambda: lambda: F.linear(x, weight, bias), **given)
    fused = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if plan.device == "cpu" and fused is not None:
        yield Subject(f"product {shape}, oneDNN", lambda: lambda: fused(x, weight, bias, "none", [], ""), **given)


def _divide_by_gflop(plan: Plan, variant: Variant, size: int) -> Subject:
    def make() -> Callable[[], Tensor]:
        metric, pixels = plan.contenders.ours(plan.model, variant), draw_batch(size).to(plan.device)
        return lambda: metric.embed(pixels, check=False)

    done = count_flops(MODELS[plan.model]) * size / 1e9
    return Subject(str(variant), make, done, model=plan.model, precision=variant.precision)


def _make_released_embed(plan: Plan, pixels: Tensor) -> Callable[[], Tensor]:
    model = plan.contenders.released(plan.model)
    return lambda: model.embed(pixels)


def time_starts(plan: Plan) -> Iterator[Contest]:
    """Time an import and all up to a first distance, each from nothing in a new process."""
    release = plan.home / plan.model if plan.quick else plan.contenders.release(plan.model)
    yield from list_first_contests(plan.model, release, plan.home, quick=plan.quick)


def time_processes(plan: Plan) -> Iterator[Contest]:
    """Time a batch of pairs, each package in a new process."""
    precisions = [variant.precision for variant in plan.variants if not variant.compiled]
    yield list_batch_contests(
        plan.model, plan.contenders.release(plan.model), plan.home, precisions, min(8, plan.largest)
    )


GROUPS: dict[str, Callable[[Plan], Iterator[Contest]]] = {
    "startup": time_starts,
    "alone": time_processes,
    "distance": time_distances,
    "one-to-many": time_one_to_many,
    "peers": time_peers,
    "models": time_models,
    "files": time_files,
    "growth": time_growth,
    "peak": time_peak,
}
