"""Names of things to make pictures of: the lists that NIGHTS took its prompts from, and files of one's own.

ImageNet's names are torchvision's; those of CIFAR-10, CIFAR-100, Food-101, Flowers-102 and SUN397 are the ones that
CLIP was evaluated with (Radford et al. 2021).
"""

from pathlib import Path

from dreamsim_metric.messages import say_known

FOLDER = Path(__file__).parent


def list_categories() -> dict[str, int]:
    """Count the names in each list of the package.

    Example:
        >>> list_categories()["cifar10"]
        10
    """
    return {file.stem: len(file.read_text(encoding="utf-8").splitlines()) for file in sorted(FOLDER.glob("*.txt"))}


def read_categories(source: str) -> list[str]:
    """Read the names of a list.

    Args:
        source: name of a list (see `list_categories`), or a text file with a name a line.

    Raises:
        ValueError: an unknown list, with the nearest ones, or a file with empty or repeated lines: all of them.

    Example:
        >>> read_categories("cifar10")[:3]
        ['airplane', 'automobile', 'bird']
    """
    file = Path(source)
    if not file.is_file():
        file = FOLDER / f"{source}.txt"
        if not file.is_file():
            known = say_known(source, list(list_categories()))
            raise ValueError(f"no categories {source!r}: {known}, or a text file with a name a line")
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not text in UTF-8 ({error.reason}); expected a name a line") from error
    first: dict[str, int] = {}
    problems = [] if names else ["no lines"]
    for number, name in enumerate(names, start=1):
        if not name:
            problems.append(f"line {number} is empty")
        elif name in first:
            problems.append(f"line {number} repeats {name!r} of line {first[name]}")
        first.setdefault(name, number)
    if problems:
        raise ValueError(f"{file}: {'; '.join(problems)}; expected a different name on each line")
    return names
