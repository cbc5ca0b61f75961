"""Pictures for similarity judgements: triplets of one prompt as in NIGHTS, and pairs of graded likeness.

NIGHTS (Fu et al. 2023, section 3): a triplet is three pictures of the prompt "An image of a {category}", from three
seeds. A pair is a picture and a variation of it, by image-to-image (Meng et al. 2022) or by mixing new noise into that
which it began with.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from diffusers import AutoPipelineForImage2Image
from diffusers.utils.torch_utils import randn_tensor
from tqdm import tqdm

from data_tools.manifest import append_rows, begin_run, read_rows, replace_rows
from data_tools.painting import check_painter, check_steps, list_arguments, paint
from data_tools.pipelines import DTYPES, Model, list_versions, load_model
from data_tools.tables import COLUMNS, ROLES, collect_groups, settle_rows, write_table
from dreamsim_metric.bounds import check_least
from dreamsim_metric.files.write import write_file
from dreamsim_metric.images.convert import to_image
from dreamsim_metric.images.encoding import encode
from dreamsim_metric.networks.defaults import set_usual_defaults

ATTEMPTS = 3  # seeds tried for a picture that comes out blank or like another
BLANK = 1.0  # standard deviation, of 255, below which a picture shows nothing


@dataclass(frozen=True)
class Config:
    """Settings that the pictures depend on.

    Attributes:
        model: name or folder of the pipeline, for `load_model`; `revision`, `variant`, `dtype`, `scheduler` and
            `additions` too.
        categories: names that go into the prompt, in turn.
        template: prompt with `{category}` in it.
        triplets: number of triplets to make; 0 if pairs are made.
        pairs: number of pictures to vary; 0 if triplets are made.
        strengths: strengths of the variations, each above 0 and at most 1; every picture gets all of them.
        vary: kind of variation: `image` (image-to-image) or `noise` (of the noise at the beginning; latent diffusion
            with a UNet only).
        steps: steps of the scheduler for a picture.
        guidance: scale of the classifier-free guidance; the pipeline's own if None.
        size: width and height in pixels; the model's if None.
        seed: seed of everything that is random.
        batch_size: pictures made at once. Their bytes may depend on it.
    """

    model: str
    categories: Sequence[str]
    template: str = "An image of a {category}"
    triplets: int = 0
    pairs: int = 0
    strengths: Sequence[float] = (0.2, 0.4, 0.6, 0.8)
    vary: Literal["image", "noise"] = "image"
    revision: str | None = None
    variant: str | None = None
    dtype: str = "float32"
    scheduler: str | None = None
    additions: Sequence[str] = ()
    steps: int = 30
    guidance: float | None = None
    size: tuple[int, int] | None = None
    seed: int = 0
    batch_size: int = 4

    def check(self) -> None:
        """Raise ValueError for settings that cannot be."""
        if bool(self.triplets) == bool(self.pairs) or min(self.triplets, self.pairs) < 0:
            raise ValueError(f"got {self.triplets} triplets and {self.pairs} pairs; expected some of one of them")
        if "{category}" not in self.template:
            raise ValueError(f"got the template {self.template!r}; expected {{category}} in it")
        if self.dtype not in DTYPES:
            raise ValueError(f"got dtype {self.dtype!r}; expected one of {', '.join(DTYPES)}")
        for name in ("steps", "batch_size"):
            check_least(name, getattr(self, name))
        lowest = 1 / self.steps if self.vary == "image" else 0
        wrong = [value for value in self.strengths if not (0 < value <= 1 and value >= lowest)]
        if self.pairs and (wrong or not self.strengths or len(set(self.strengths)) < len(self.strengths)):
            raise ValueError(
                f"got strengths {', '.join(map(str, self.strengths)) or 'none'}; expected different ones, from "
                f"{lowest:g} ({'one of the steps' if lowest else 'not included'}) to 1"
            )


@dataclass(frozen=True)
class Work:
    """A picture to make: which of its group, from what."""

    group: int
    part: str
    category: str
    strength: float | None = None

    def seed(self, base: int, attempt: int) -> int:
        """Compute a seed that differs for each picture and attempt, and is the same in each run."""
        text = f"{base} {self.group} {self.part} {attempt}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])

    def path(self, attempt: int) -> str:
        """Name the picture's file, relative to the run's folder."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.category.lower()).strip("-") or "category"
        again = f"_{attempt}" if attempt else ""
        return f"pictures/{slug[:60]}/{self.group:06}_{self.part}{again}.png"


@dataclass(frozen=True)
class Summary:
    """Counts of what a generation made.

    Attributes:
        groups: complete triplets, or pairs.
        incomplete: triplets or pairs that lack a picture after `ATTEMPTS` seeds.
        pictures: pictures that were kept.
        dropped: pictures that were dropped, by reason.
    """

    groups: int
    incomplete: int
    pictures: int
    dropped: dict[str, int]


@set_usual_defaults()
def generate(config: Config, out: Path, device: str | None = None) -> Summary:
    """Make the pictures, or those that are still missing.

    Under `accelerate launch` each process makes its share. A run that was stopped goes on with the batch that it was
    stopped in; the pictures are the same, byte by byte, as without the stop, on the same kind of machine.

    Args:
        config: settings of the pictures.
        out: folder that gets `pictures/`, `manifest.jsonl` (a line each picture: how to make it again) and
            `triplets.csv` or `pairs.csv`.
        device: device to run on. Default: CUDA where there is one.

    Raises:
        ValueError: a configuration that cannot be, or another than the folder was begun with; a pipeline that does not
            paint from words, or cannot go so many steps, or fails at the first picture. No folder is left then.
        FileExistsError: the folder holds something else.
        FileNotFoundError: parts of the pipeline are missing.
        OSError: no such model, or the disk is full: what was made is intact; or another process fills the folder.
        torch.OutOfMemoryError: the batch does not fit.
    """
    config.check()
    state = PartialState(cpu=device == "cpu")
    model = load_model(
        config.model,
        revision=config.revision,
        variant=config.variant,
        dtype=config.dtype,
        device=state.device if device is None or device == "cpu" else device,
        scheduler=config.scheduler,
        additions=config.additions,
    )
    facts = {"revision": model.revision, "scheduler": model.scheduler, "device": model.pipeline.device.type}
    settings = {**asdict(config), **facts, "categories": list(config.categories), "versions": list_versions()}
    settings |= {"strengths": list(config.strengths), "additions": list(config.additions)}
    run = _Run(config, out, model, state)
    with begin_run(out, settings, state):
        run.make(run.firsts())
        if config.pairs:
            run.make(run.variations())
        return run.finish()


class _Run:
    def __init__(self, config: Config, out: Path, model: Model, state: PartialState) -> None:
        self.config, self.out, self.model, self.state = config, out, model, state
        self.guidance = config.guidance
        check_painter(model.pipeline)
        taken, kind = list_arguments(model.pipeline), type(model.pipeline).__name__
        if "guidance_scale" in taken and self.guidance is None:
            self.guidance = taken["guidance_scale"].default
        for name, value, argument in (("guidance", config.guidance, "guidance_scale"), ("size", config.size, "width")):
            if value is not None and argument not in taken:
                raise ValueError(f"got {name} {value}, but {kind} takes no {argument}; leave it out")
        check_steps(model.pipeline, config.steps)
        self.bases: dict[int, dict[str, Any]] = {}
        self.varying = self._vary() if config.pairs else None

    def _vary(self) -> Any:
        """Make the pipeline that varies pictures; for noise there is none."""
        pipeline = self.model.pipeline
        kind = type(pipeline).__name__
        if self.config.vary == "noise":
            if not hasattr(pipeline, "unet") or not hasattr(pipeline, "vae_scale_factor"):
                raise ValueError(f"{kind} has no UNet on latents, whose noise could be varied; vary the image instead")
            return None
        try:
            varying = AutoPipelineForImage2Image.from_pipe(pipeline)
        except ValueError as error:
            raise ValueError(
                f"diffusers has no image-to-image of {kind}; make triplets, or take another model"
            ) from error
        varying.set_progress_bar_config(disable=True)
        return varying

    def firsts(self) -> list[Work]:
        """List what is made from the prompt alone; the categories take turns, in an order that the seed gives."""
        config = self.config
        order = np.random.default_rng(config.seed).permutation(len(config.categories))
        parts = ROLES if config.triplets else ("base",)
        return [
            Work(group, part, config.categories[order[group % len(order)]])
            for group in range(config.triplets or config.pairs)
            for part in parts
        ]

    def variations(self) -> list[Work]:
        """List variations of the pictures that were kept, one strength after the other: a batch has one strength."""
        rows = settle_rows(read_rows(self.out, columns=COLUMNS))
        self.bases = {row["group"]: row for row in rows if row["part"] == "base" and not row["dropped"]}
        return [
            Work(group, f"{self.config.vary}{strength:g}", row["category"], strength)
            for strength in self.config.strengths
            for group, row in self.bases.items()
        ]

    def make(self, works: Sequence[Work]) -> None:
        """Make pictures until each is kept or has had its attempts."""
        size = self.config.batch_size
        for attempt in range(ATTEMPTS):
            rows = read_rows(self.out, columns=COLUMNS)
            earlier = settle_rows([row for row in rows if row["attempt"] < attempt])
            kept = {(row["group"], row["part"]) for row in earlier if not row["dropped"]}
            missing = [work for work in works if (work.group, work.part) not in kept]
            by_strength = {work.strength: [w for w in missing if w.strength == work.strength] for work in missing}
            batches = [part[i : i + size] for part in by_strength.values() for i in range(0, len(part), size)]
            there = {
                (row["group"], row["part"])
                for row in rows
                if row["attempt"] == attempt and (row["dropped"] or (self.out / row["path"]).is_file())
            }
            ours = batches[self.state.process_index :: self.state.num_processes]
            bar = tqdm(total=sum(map(len, ours)), unit="picture", disable=not self.state.is_main_process or not ours)
            for batch in ours:
                # Whole batches only: a picture's last bits depend on what it was computed beside.
                if not all((work.group, work.part) in there for work in batch):
                    append_rows(self.out, self.batch(batch, attempt))
                bar.update(len(batch))
            bar.close()
            self.state.wait_for_everyone()

    def batch(self, works: Sequence[Work], attempt: int) -> list[dict[str, Any]]:
        """Make and write pictures, and return their rows."""
        config, pipeline = self.config, self.model.pipeline
        seeds = [work.seed(config.seed, attempt) for work in works]
        prompts = [config.template.replace("{category}", work.category) for work in works]
        arguments: dict[str, Any] = {"num_inference_steps": config.steps}
        if self.guidance is not None:
            arguments["guidance_scale"] = self.guidance
        bases: list[dict[str, Any]] = []
        generators = _make_generators(seeds)
        if works[0].strength is None or config.vary == "noise":
            width, height = config.size or (None, None)
            arguments.update(width=width, height=height)
        if works[0].strength is not None:
            bases = [self.bases[work.group] for work in works]
            if config.vary == "noise":
                arguments["latents"], generators = self.noise(bases, seeds, works[0].strength)
            else:
                pipeline = self.varying
                images = [to_image(self.out / row["path"]) for row in bases]
                arguments.update(image=images, strength=works[0].strength)
        made = paint(pipeline, prompts, generators, **arguments)
        unsafe = getattr(made, "nsfw_content_detected", None) or [False] * len(works)
        rows = []
        for i, work in enumerate(works):
            picture = made.images[i].convert("RGB")
            data = encode(picture)
            blank = np.asarray(picture).std((0, 1)).max() < BLANK
            dropped = "safety checker" if unsafe[i] else "blank" if blank else None
            path = work.path(attempt)
            if not dropped:
                (self.out / path).parent.mkdir(parents=True, exist_ok=True)
                write_file(self.out / path, data)
            rows.append(
                {
                    "path": path,
                    "group": work.group,
                    "part": work.part,
                    "category": work.category,
                    "prompt": prompts[i],
                    "seed": seeds[i],
                    "attempt": attempt,
                    "model": self.model.name,
                    "revision": self.model.revision,
                    "dtype": config.dtype,
                    "scheduler": self.model.scheduler,
                    "steps": config.steps,
                    "guidance": self.guidance,
                    "width": picture.width,
                    "height": picture.height,
                    "strength": work.strength,
                    "of": bases[i]["path"] if bases else None,
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "dropped": dropped,
                }
            )
        return rows

    def noise(self, bases: Sequence[dict[str, Any]], seeds: Sequence[int], strength: float) -> tuple[Any, Any]:
        """Turn the noise that pictures began with towards new noise, by a share of a right angle."""
        pipeline = self.model.pipeline
        factor = pipeline.vae_scale_factor
        height, width = bases[0]["height"] // factor, bases[0]["width"] // factor
        shape = (len(bases), pipeline.unet.config.in_channels, height, width)
        first = _make_generators(
            [row["seed"] for row in bases]
        )  # later draws of the scheduler follow those of the base
        old, new = (
            randn_tensor(shape, generator=source, device=pipeline.device, dtype=pipeline.unet.dtype)
            for source in (first, _make_generators(seeds))
        )
        angle = strength * math.pi / 2
        return math.cos(angle) * old + math.sin(angle) * new, first

    def finish(self) -> Summary:
        """Mark duplicates, sort the manifest, write the table of what is complete."""
        with self.state.main_process_first():
            rows = settle_rows(read_rows(self.out, columns=COLUMNS))
            if self.state.is_main_process:
                replace_rows(self.out, rows)
                for row in rows:
                    if row["dropped"]:
                        (self.out / row["path"]).unlink(missing_ok=True)
                write_table(self.out, rows)
        return self.summary(rows)

    def summary(self, rows: Sequence[dict[str, Any]]) -> Summary:
        """Count what was made."""
        complete = len(collect_groups(rows))
        wanted = self.config.triplets or self.config.pairs * len(self.config.strengths)
        dropped = Counter(row["dropped"].partition(" of ")[0] for row in rows if row["dropped"])
        return Summary(complete, wanted - complete, sum(not row["dropped"] for row in rows), dict(dropped))


def _make_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]  # the same noise on every device
