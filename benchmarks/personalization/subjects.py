"""Subjects to personalize for: a few photographs of each, what it is called, and prompts with `{}` in its place.

A folder of subjects is one of

- DreamBench (Ruiz et al. 2023; `google/dreambooth`): `prompts_and_classes.txt` beside or in `dataset/` or `subjects/`;
- yours: a subfolder of photographs a subject, `subjects.csv` (`subject`, `class` and, where there are several lists of
  prompts, `prompts`) and `prompts.csv` (`prompt`, with `{}`, and if you like `kind` and `list`).

A mask of `NAME.jpg`, white where the subject is, is `masks/NAME.png` beside it.
"""

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dreamsim_metric.files.pictures import list_pictures
from dreamsim_metric.files.table import Record, Sheet

DREAMBENCH = "prompts_and_classes.txt"
SUBJECTS, PROMPTS = "subjects.csv", "prompts.csv"
PLACEHOLDER = "{}"
_LIVING = {"cat", "dog"}  # classes of DreamBench that its second list is for


@dataclass(frozen=True)
class Prompt:
    """A prompt, in words.

    Attributes:
        text: words with `{}` where the subject goes: "a {} in the snow".
        kind: kind for breakdowns: `recontextualization`, `accessory`, `property` in DreamBench.

    Example:
        >>> Prompt("a {} in the snow", "recontextualization").slug
        'a-in-the-snow'
    """

    text: str
    kind: str = ""

    def __post_init__(self) -> None:
        fill(self.text, "")

    @property
    def slug(self) -> str:
        """The name of its folder: "a-in-the-snow"."""
        return re.sub(r"[^a-z0-9]+", "-", self.text.lower()).strip("-")


@dataclass(frozen=True)
class Subject:
    """A subject to be painted.

    Attributes:
        name: name of its folder.
        noun: noun of its class: "dog", "stuffed animal".
        pictures: photographs of the subject.
        prompts: prompts to ask for.
    """

    name: str
    noun: str
    pictures: tuple[Path, ...]
    prompts: tuple[Prompt, ...] = ()

    @cached_property
    def masks(self) -> tuple[Path | None, ...]:
        """The mask of each photograph, None where there is none."""
        files = [picture.parent / "masks" / f"{picture.stem}.png" for picture in self.pictures]
        return tuple(file if file.is_file() else None for file in files)


def fill(prompt: str, words: str) -> str:
    """Put words for the subject into a prompt.

    Raises:
        ValueError: the prompt has no place for them, or two.

    Example:
        >>> fill("a {} in the snow", "dog")
        'a dog in the snow'
    """
    if prompt.count(PLACEHOLDER) != 1:
        raise ValueError(f"got the prompt {prompt!r}; expected {PLACEHOLDER} in it once, where the subject goes")
    return prompt.replace(PLACEHOLDER, words)


def read_subjects(folder: Path, names: list[str] | None = None) -> list[Subject]:
    """Read the subjects of a folder, by name.

    Args:
        folder: folder of one of the kinds in the module's docstring.
        names: names of the subjects wanted; None for all.

    Raises:
        FileNotFoundError: no such folder, no table in it, or a subject without photographs.
        ValueError: an unknown subject, a table that lacks something, a photograph that will not open.
    """
    subjects = find_subjects(folder, names)

    from dreamsim_metric.images.ahead import find_unreadable  # torch comes with it

    for file, why in find_unreadable(file for subject in subjects for file in subject.pictures).items():
        raise ValueError(f"{file} cannot be read ({why}); replace or remove it")
    return subjects


def find_subjects(folder: Path, names: list[str] | None = None) -> list[Subject]:
    """Find the subjects of `read_subjects` by tables and names alone: photographs are not decoded.

    Raises:
        FileNotFoundError, ValueError: same as in `read_subjects`.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder of subjects: {folder}")
    base, nouns, prompts = _read_dreambench(folder) if _is_dreambench(folder) else _read_ours(folder)
    unknown = sorted(set(names or ()) - set(nouns))
    if unknown:
        raise ValueError(f"{folder} has no subject {', '.join(unknown)}; it has {', '.join(sorted(nouns))}")
    return [Subject(name, nouns[name], _list_pictures(base / name), prompts[name]) for name in sorted(names or nouns)]


def _list_pictures(folder: Path) -> tuple[Path, ...]:
    files = tuple(map(Path, list_pictures(folder)))
    if not files:
        raise FileNotFoundError(f"no photographs in {folder}; expected some (files with a picture's ending)")
    return files


def _is_dreambench(folder: Path) -> bool:
    return any((place / DREAMBENCH).is_file() for place in (folder, folder.parent)) and not (folder / SUBJECTS).exists()


def _read_dreambench(folder: Path) -> tuple[Path, dict[str, str], dict[str, tuple[Prompt, ...]]]:
    file = next(place / DREAMBENCH for place in (folder, folder.parent) if (place / DREAMBENCH).is_file())
    base = next((folder / name for name in ("dataset", "subjects") if (folder / name).is_dir()), folder)
    text = file.read_text(encoding="utf-8")
    nouns = dict(re.findall(r"^(\w+),([\w ]+?)\s*$", text.partition("subject_name,class")[2], re.M))
    lists = [
        tuple(_read_prompt(ast.literal_eval(line)) for line in re.findall(r"^\s*('.*?')\.format", part, re.M))
        for part in text.split("prompt_list = [")[1:]
    ]
    if not nouns or len(lists) != 2:
        raise ValueError(f"{file} has {len(nouns)} subjects and {len(lists)} lists of prompts; expected DreamBench's")
    return base, nouns, {name: lists[noun in _LIVING] for name, noun in nouns.items()}


def _read_prompt(template: str) -> Prompt:
    text = template.replace("{0} {1}", PLACEHOLDER)
    if not text.startswith("a {}"):  # "a red {}"
        return Prompt(text, "property")
    return Prompt(text, "accessory" if re.search("wearing|outfit", text) else "recontextualization")


def _read_ours(folder: Path) -> tuple[Path, dict[str, str], dict[str, tuple[Prompt, ...]]]:
    for name in (SUBJECTS, PROMPTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}; expected DreamBench, or {SUBJECTS} and {PROMPTS}")
    subjects, prompts = Sheet(folder / SUBJECTS), Sheet(folder / PROMPTS)
    subjects.require(("subject", "class"))
    prompts.require(("prompt",))
    lists: dict[str, list[Prompt]] = {}
    for row in _read_whole(prompts, "prompt"):
        lists.setdefault(row.get("list", ""), []).append(Prompt(row["prompt"], row.get("kind", "")))
    rows = _read_whole(subjects, "subject", "class")
    missing = {row.get("prompts", "") for row in rows} - set(lists)
    if missing:
        raise ValueError(f"{folder / PROMPTS} has no list {', '.join(map(repr, sorted(missing)))}; add its prompts")
    return (
        folder,
        {row["subject"]: row["class"] for row in rows},
        {row["subject"]: tuple(lists[row.get("prompts", "")]) for row in rows},
    )


def _read_whole(sheet: Sheet, *needed: str) -> list[dict[str, str]]:
    """Read the cells of all rows, which must be whole and have these columns filled."""

    def cells(record: Record) -> dict[str, str]:
        return record.cells | {column: record.text(column) for column in needed}

    rows = list(sheet.rows(cells))
    wrong = [row for row in rows if isinstance(row, str)]
    if wrong or not rows:
        raise ValueError(f"{sheet.path} cannot be used: {'; '.join(wrong) or 'it has no rows'}")
    return [row for row in rows if not isinstance(row, str)]
