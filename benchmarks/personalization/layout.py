"""Pictures that methods painted, as they lie in folders:

    PICTURES/METHOD/SUBJECT/PROMPT/SEED.png

SUBJECT is a subject's name and PROMPT the `slug` of one of its prompts; `class` is for pictures of the class alone
("a dog"), by the pipeline that was taught the subject, which tell whether it forgot the class. SEED is a whole number,
and the suffix any that pictures have. A mask of a picture, white where the subject is, is `masks/SEED.png` beside it.
Of one method alone METHOD may be left out: it is then called as the folder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.personalization.subjects import Prompt, Subject
from data_tools.manifest import MANIFEST
from dreamsim_metric.files.pictures import list_pictures
from dreamsim_metric.messages import list_briefly, suggest

CLASS = "class"
MASKS = "masks"
CLASS_PROMPT = "a {}"  # what pictures of the class alone are asked for with
# In the folder of a run, beside `data_tools.manifest.MANIFEST`, which tells it from a folder of pictures:
PAINTED, FITS, SCORES, COSTS, FAILURES = "pictures", "fits", "scores", "costs.jsonl", "failures.jsonl"
PHOTOGRAPHS = "real photographs"  # not a method: the yardstick beside them
LAYOUT = "METHOD/SUBJECT/PROMPT/SEED.png"

_SAID = 5  # problems named in an error


@dataclass(frozen=True)
class Painting:
    """A picture that a method painted.

    Attributes:
        prompt: prompt that was asked for; None for the class alone.
        seed: seed of its noise.
        path: path of its file.
    """

    prompt: Prompt | None
    seed: int
    path: Path

    @property
    def mask(self) -> Path | None:
        """The mask that shows the subject in it, if there is such a file."""
        file = self.path.parent / MASKS / f"{self.path.stem}.png"
        return file if file.is_file() else None


@dataclass(frozen=True)
class Gallery:
    """All that a method painted of a subject.

    Attributes:
        method: name of the method's folder.
        subject: subject that the method was taught.
        pictures: paintings in the order of the subject's prompts, then of seeds.
        of_class: paintings of the class alone, by seed.
    """

    method: str
    subject: Subject
    pictures: tuple[Painting, ...]
    of_class: tuple[Painting, ...] = ()


def find_picture_folder(folder: Path) -> Path:
    """Find where pictures lie: in a run's folder its `pictures`, else in the folder itself."""
    return folder / PAINTED if (folder / MANIFEST).is_file() else folder


def read_pictures(folder: Path, subjects: Sequence[Subject]) -> list[Gallery]:
    """Read the pictures of a folder, by method and subject.

    Args:
        folder: folder of the layout in the module's docstring (`find_picture_folder` of a run's).
        subjects: subjects that there may be pictures of; not all of them need have any.

    Raises:
        FileNotFoundError: no such folder, or no pictures in this layout.
        ValueError: an unknown subject or prompt (with the nearest ones), a name that is no seed, two pictures of one
            seed, or pictures that cannot be read: all problems at once.
    """
    found = find_paintings(folder, subjects)
    problems = _find_unreadable(folder, [picture.path for pictures in found.values() for picture in pictures])
    if problems:
        raise _describe_wrong(folder, problems)
    by_name = {subject.name: subject for subject in subjects}
    return [_make_gallery(method, by_name[name], found[method, name]) for method, name in sorted(found)]


def find_paintings(folder: Path, subjects: Sequence[Subject]) -> dict[tuple[str, str], list[Painting]]:
    """Find the pictures of `read_pictures` by their names alone: they are not decoded.

    Returns:
        Pictures by method and subject.

    Raises:
        FileNotFoundError, ValueError: same as in `read_pictures`.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder of pictures: {folder}")
    known = _group_by_slug(subjects)
    found: dict[tuple[str, str], list[Painting]] = {}
    problems: list[str] = []
    for method, path in _list_files(folder):
        name, slug = path.parts[-3:-1]
        problem = _describe_problem(path, known)
        if problem:
            problems.append(f"{path.relative_to(folder)}: {problem}")
        else:
            picture = Painting(None if slug == CLASS else known[name][slug], int(path.stem), path)
            found.setdefault((method, name), []).append(picture)
    problems += [f"{path.relative_to(folder)}: another picture of this seed" for path in _find_repeated(found.values())]
    if problems:
        raise _describe_wrong(folder, problems)
    return found


def _describe_wrong(folder: Path, problems: list[str]) -> ValueError:
    return ValueError(f"{folder}: {list_briefly(problems, _SAID, '; ')}")


def _group_by_slug(subjects: Sequence[Subject]) -> dict[str, dict[str, Prompt]]:
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


def _list_files(folder: Path) -> list[tuple[str, Path]]:
    """List methods and pictures: files four names deep, or three where one method is alone."""
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


def _describe_problem(path: Path, known: dict[str, dict[str, Prompt]]) -> str:
    *method, subject, slug = path.parts[-4:-1]
    if method[-1:] == [PHOTOGRAPHS]:
        return f"no method may be called {PHOTOGRAPHS!r}; rename the folder"
    if subject not in known:
        return f"no such subject: {subject} ({_give_hint(subject, list(known))})"
    if slug != CLASS and slug not in known[subject]:
        return f"no such prompt of {subject}: {slug} ({_give_hint(slug, [*known[subject], CLASS])})"
    if not (path.stem.isascii() and path.stem.isdigit()):
        return f"got {path.stem!r} as the seed; expected a whole number"
    return ""


def _give_hint(name: str, known: Sequence[str]) -> str:
    return suggest(name, known) or f"expected {list_briefly(known)}"


def _find_repeated(galleries: Iterable[list[Painting]]) -> list[Path]:
    repeated = []
    for pictures in galleries:
        seen = set()
        for picture in pictures:
            if (picture.prompt, picture.seed) in seen:
                repeated.append(picture.path)
            seen.add((picture.prompt, picture.seed))
    return repeated


def _find_unreadable(folder: Path, paths: Sequence[Path]) -> list[str]:
    """Decode all before hours of work: a picture left out would change a figure unseen."""
    from dreamsim_metric.images.ahead import find_unreadable  # and torch: what names tell is said without

    found = find_unreadable(paths).items()
    return [f"{path.relative_to(folder)}: {why}; paint it again, or remove it" for path, why in found]


def _make_gallery(method: str, subject: Subject, pictures: Sequence[Painting]) -> Gallery:
    order = {prompt: i for i, prompt in enumerate(subject.prompts)}
    painted = [(order[picture.prompt], picture.seed, picture) for picture in pictures if picture.prompt is not None]
    of_class = [(picture.seed, picture) for picture in pictures if picture.prompt is None]
    return Gallery(
        method,
        subject,
        tuple(picture for *_, picture in sorted(painted, key=lambda item: item[:2])),
        tuple(picture for _, picture in sorted(of_class, key=lambda item: item[0])),
    )
