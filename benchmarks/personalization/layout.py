"""Pictures that methods painted, as they lie in folders:

    PICTURES/METHOD/SUBJECT/PROMPT/SEED.png

SUBJECT is a subject's name and PROMPT the `slug` of one of its prompts; `class` is for pictures of the class alone
("a dog"), by the pipeline that was taught the subject, which tell whether it forgot the class. SEED is a whole number,
and the suffix any that pictures have. A mask of a picture, white where the subject is, is `masks/SEED.png` beside it.
Of one method alone METHOD may be left out: it is then called as the folder.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.personalization.subjects import Prompt, Subject
from dreamsim_metric.files.pictures import list_pictures
from dreamsim_metric.images.ahead import find_unreadable

CLASS = "class"
MASKS = "masks"
RUN, RUN_PICTURES = "manifest.jsonl", "pictures"  # in the folder of a run that painted them
FITS, COSTS, FAILURES = "fits", "costs.jsonl", "failures.jsonl"  # and what else is in it
PHOTOGRAPHS = "real photographs"  # not a method: the yardstick beside them
LAYOUT = "METHOD/SUBJECT/PROMPT/SEED.png"

_SAID = 5  # problems named in an error


@dataclass(frozen=True)
class Picture:
    """A picture that was painted.

    Attributes:
        prompt: that was asked for; None for the class alone.
        seed: of its noise.
        path: of its file.
    """

    prompt: Prompt | None
    seed: int
    path: Path

    @property
    def mask(self) -> Path | None:
        """Where the subject is in it, if there is such a file."""
        file = self.path.parent / MASKS / f"{self.path.stem}.png"
        return file if file.is_file() else None


@dataclass(frozen=True)
class Gallery:
    """All that a method painted of a subject.

    Attributes:
        method: name of its folder.
        subject: that it was taught.
        pictures: in the order of the subject's prompts, then of seeds.
        of_class: of the class alone, by seed.
    """

    method: str
    subject: Subject
    pictures: tuple[Picture, ...]
    of_class: tuple[Picture, ...] = ()


def picture_folder(folder: Path) -> Path:
    """Where pictures lie: in a run's folder its `pictures`, else in the folder itself."""
    return folder / RUN_PICTURES if (folder / RUN).is_file() else folder


def read_pictures(folder: Path, subjects: Sequence[Subject]) -> list[Gallery]:
    """Pictures of a folder, by method and subject.

    Args:
        folder: see above (`picture_folder` of a run's).
        subjects: that there may be pictures of; pictures of all of them are not needed.

    Raises:
        FileNotFoundError: no such folder, or no pictures in this layout.
        ValueError: an unknown subject or prompt (with the nearest ones), a name that is no seed, two pictures of one
            seed, or pictures that cannot be read: all problems at once.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder of pictures: {folder}")
    known = _by_slug(subjects)
    found: dict[tuple[str, str], list[Picture]] = {}
    problems: list[str] = []
    for method, path in _files(folder):
        name, slug = path.parts[-3:-1]
        problem = _problem(path, known)
        if problem:
            problems.append(f"{path.relative_to(folder)}: {problem}")
        else:
            picture = Picture(None if slug == CLASS else known[name][slug], int(path.stem), path)
            found.setdefault((method, name), []).append(picture)
    problems += [f"{path.relative_to(folder)}: another picture of this seed" for path in _repeated(found.values())]
    problems += _unreadable(folder, [picture.path for pictures in found.values() for picture in pictures])
    if problems:
        more = f"; and {len(problems) - _SAID} more" if len(problems) > _SAID else ""
        raise ValueError(f"{folder}: {'; '.join(problems[:_SAID])}{more}")
    by_name = {subject.name: subject for subject in subjects}
    return [_gallery(method, by_name[name], found[method, name]) for method, name in sorted(found)]


def _by_slug(subjects: Sequence[Subject]) -> dict[str, dict[str, Prompt]]:
    known: dict[str, dict[str, Prompt]] = {}
    for subject in subjects:
        slugs = [prompt.slug for prompt in subject.prompts]
        twice = sorted({slug for slug in [*slugs, CLASS] if (CLASS, *slugs).count(slug) > 1})
        if twice:
            raise ValueError(
                f"prompts of {subject.name} would share the folder {', '.join(twice)}; change the words of one"
            )
        known[subject.name] = dict(zip(slugs, subject.prompts, strict=True))
    return known


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Methods and pictures: of files four names deep, or three where one method is alone."""
    inside = [Path(file).relative_to(folder) for file in list_pictures(folder, recursive=True)]
    shown = [path for path in inside if MASKS not in path.parts]
    depths = {depth: sorted(path for path in shown if len(path.parts) == depth) for depth in (3, 4)}
    if depths[3] and depths[4]:
        raise ValueError(
            f"{folder} has {depths[4][0]} and {depths[3][0]}; expected all as {LAYOUT}, or all of one method without it"
        )
    if not depths[3] and not depths[4]:
        there = f"it has {min(shown)}" if shown else "there are none at all"
        raise FileNotFoundError(f"no pictures in {folder} as {LAYOUT}: {there}")
    alone = folder.resolve().name
    return [(path.parts[0] if depths[4] else alone, folder / path) for path in depths[3] + depths[4]]


def _problem(path: Path, known: dict[str, dict[str, Prompt]]) -> str:
    *method, subject, slug = path.parts[-4:-1]
    if method[-1:] == [PHOTOGRAPHS]:
        return f"no method may be called {PHOTOGRAPHS!r}; rename the folder"
    if subject not in known:
        return f"no such subject: {subject}{_near(subject, known)}"
    if slug != CLASS and slug not in known[subject]:
        return f"no such prompt of {subject}: {slug}{_near(slug, [*known[subject], CLASS])}"
    if not (path.stem.isascii() and path.stem.isdigit()):
        return f"got {path.stem!r} as the seed; expected a whole number"
    return ""


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _repeated(galleries: Iterable[list[Picture]]) -> list[Path]:
    repeated = []
    for pictures in galleries:
        seen = set()
        for picture in pictures:
            if (picture.prompt, picture.seed) in seen:
                repeated.append(picture.path)
            seen.add((picture.prompt, picture.seed))
    return repeated


def _unreadable(folder: Path, paths: Sequence[Path]) -> list[str]:
    """Found out before hours of work, and all of them: a picture left out would change a figure unseen."""
    found = find_unreadable(paths).items()
    return [f"{path.relative_to(folder)}: {why}; paint it again, or remove it" for path, why in found]


def _gallery(method: str, subject: Subject, pictures: Sequence[Picture]) -> Gallery:
    order = {prompt: i for i, prompt in enumerate(subject.prompts)}
    painted = [(order[picture.prompt], picture.seed, picture) for picture in pictures if picture.prompt is not None]
    of_class = [(picture.seed, picture) for picture in pictures if picture.prompt is None]
    return Gallery(
        method,
        subject,
        tuple(picture for *_, picture in sorted(painted, key=lambda item: item[:2])),
        tuple(picture for _, picture in sorted(of_class, key=lambda item: item[0])),
    )


SCORES = "scores"  # folder of the tables, in that of a run
