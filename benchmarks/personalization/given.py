"""Fits that another trainer made: found for each subject, and copied into a run."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.personalization.subjects import Subject
from dreamsim_metric.files.write import create_folder
from dreamsim_metric.messages import list_briefly


def find_given(path: Path, subjects: Sequence[Subject]) -> dict[str, Path]:
    """Find what was made of each subject: a folder or file of its name; with one subject alone, the path itself.

    Raises:
        FileNotFoundError: no such path, or nothing for some of the subjects: which.
    """
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}; expected what another trainer made")
    files = sorted(path.iterdir()) if path.is_dir() else []
    found = {}
    for subject in subjects:
        named = [one for one in files if subject.name in (one.name, one.stem)]
        if named or len(subjects) == 1:
            found[subject.name] = named[0] if named else path
    missing = [subject.name for subject in subjects if subject.name not in found]
    if missing:
        raise FileNotFoundError(f"{path} has no folder or file named {list_briefly(missing)}; expected one a subject")
    return found


def copy_given(source: Path, folder: Path) -> None:
    """Copy a folder or a file into a new folder: whole or not at all.

    Raises:
        OSError: the disk is full or not writable.
    """
    with create_folder(folder) as beside:
        if source.is_dir():
            shutil.copytree(source, beside, dirs_exist_ok=True)
        else:
            beside.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, beside)
