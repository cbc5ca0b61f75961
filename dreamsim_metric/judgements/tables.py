"""What people said of pictures, as tables: two-alternative forced choices (2AFC), just-noticeable differences (JND)."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from dreamsim_metric.messages import list_briefly

_SHOWN_PROBLEMS = 20

Item = TypeVar("Item", covariant=True)
_Places = dict[str, list[str]]  # the rows that something is in, by split


class DataError(ValueError):
    """Everything that is wrong with the data, at once.

    Attributes:
        problems: a line for each problem; the message shows the first 20.

    Example:
        >>> print(DataError(["data.csv row 2: left_votes is empty", "data.csv row 5: it has 3 cells; expected 6"]))
        2 problems in the data:
        data.csv row 2: left_votes is empty
        data.csv row 5: it has 3 cells; expected 6
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)  # as an argument, so that the error survives pickling between processes

    def __str__(self) -> str:
        count = len(self.problems)
        problems = list_briefly(self.problems, _SHOWN_PROBLEMS, "\n")
        return f"{count} problem{'' if count == 1 else 's'} in the data:\n{problems}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Table(Generic[Item]):
    """What all tables of judgements share: rows that refer to pictures, each with what people said of them.

    Attributes:
        name: name of the data set, for reports.
        ids: a name for each of the `N` rows, unique in sound data.
        pictures: each file once, in order of first appearance.
        index: positions in `pictures`, `(N, pictures a row)` int64.
        votes: number of people who judged, `(N,)` float64; 1 where the data does not say.
        splits: name of the split of each row.
        rows: the places where the rows come from, for reports: "data.csv row 17 (id 12)".
        problems: the rows that the reader could not use and why, a line for each; `check` raises them.
        subsets: the part that each row is in, reported on its own, where the data has any.

    Example:
        >>> from dreamsim_metric.judgements import read_triplets
        >>> table = read_triplets("examples/judged")
        >>> isinstance(table, Table), table.name, table.index.shape
        (True, 'judged', (6, 3))
    """

    name: str
    ids: tuple[str, ...]
    pictures: tuple[Path, ...]
    index: np.ndarray
    votes: np.ndarray
    splits: tuple[str, ...]
    rows: tuple[str, ...]
    problems: tuple[str, ...]
    subsets: tuple[str, ...] | None = None
    _TARGET: ClassVar[str]
    _PICTURES_A_ROW: ClassVar[int]
    _OPTIONAL: ClassVar[tuple[str, ...]] = ("subsets",)
    _TARGET_IS_SHARE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self._columns()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"got columns of unequal length, {lengths}; expected one value a row in each")
        if self.index.shape != (len(self), self._PICTURES_A_ROW):
            raise ValueError(f"got index of shape {self.index.shape}; expected {(len(self), self._PICTURES_A_ROW)}")
        if self.index.size and not 0 <= self.index.min() <= self.index.max() < len(self.pictures):
            raise ValueError(
                f"got index from {self.index.min()} to {self.index.max()}; "
                f"expected positions in the {len(self.pictures)} pictures"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, which: np.ndarray) -> Self:
        """Take some of the rows, with the pictures that they use. What the reader complained of stays on record.

        Args:
            which: bool for each row, or the positions of the rows wanted, in the order wanted.

        Example:
            >>> from dreamsim_metric.judgements import read_triplets
            >>> read_triplets("examples/judged").take(np.array([5, 0])).ids
            ('6', '1')
        """
        positions = np.arange(len(self))[which]
        index = self.index[positions]
        used, first, inverse = np.unique(index, return_index=True, return_inverse=True)
        order = np.argsort(first)  # of first appearance
        rank = np.argsort(order)
        changes: dict[str, Any] = {}
        for name in self._columns():
            values = getattr(self, name)
            changes[name] = values[positions] if isinstance(values, np.ndarray) else tuple(values[i] for i in positions)
        changes["pictures"] = tuple(self.pictures[i] for i in used[order])
        changes["index"] = rank[inverse].reshape(index.shape)
        return self._with(**changes)

    def split(self, name: str) -> Self:
        """Take the rows of one split.

        Args:
            name: the data's own name for the split, or `all`. Where the table has subsets, also `SPLIT_SUBSET`:
                `test_imagenet` and `test_no_imagenet` of NIGHTS, `val_cnn` of BAPPS.

        Raises:
            ValueError: no row is of that split; the message gives those that there are.

        Example:
            >>> from dreamsim_metric.judgements import read_pairs
            >>> read_pairs("examples/judged").split("test").ids
            ('3', '4')
        """
        masks = {"all": np.ones(len(self), dtype=bool), **self.split_masks()}
        if name not in masks or not masks[name].any():
            there = ", ".join(f"{known} ({mask.sum()} rows)" for known, mask in masks.items() if mask.any())
            raise ValueError(f"got split {name!r}; expected one of those in {self.name}: {there or 'it has no rows'}")
        return self.take(masks[name])

    def split_masks(self) -> dict[str, np.ndarray]:
        """Mark the rows of each split: `(N,)` bool by its name, and by `SPLIT_SUBSET`, which may be of no row."""
        masks = _list_masks(self.splits)
        if self.subsets is None:
            return masks
        parts = _list_masks(self.subsets)
        return masks | {f"{name}_{part}": mask & rows for name, mask in masks.items() for part, rows in parts.items()}

    def _columns(self) -> tuple[str, ...]:
        """The attributes with one value a row."""
        optional = (name for name in self._OPTIONAL if getattr(self, name) is not None)
        return ("ids", "index", self._TARGET, "votes", "splits", "rows", *optional)

    def _with(self, **changes: Any) -> Self:
        return type(self)(**{**vars(self), **changes})


@dataclass(frozen=True, eq=False, kw_only=True)
class Triplets(Table[tuple[str, str, str, float]]):
    """Two-alternative forced choices: which of two pictures looks more like the reference?

    An item is `(reference, left, right, share)`: three paths and the share of votes for the right picture. `index` is
    `(N, 3)`, the positions of reference, left and right. What it has beside the columns of every `Table`:

    Attributes:
        right: share of votes for the right picture, `(N,)` float64 in [0, 1].
        prompts: the text that the pictures of each row were generated from, where the data says.

    Example:
        >>> from dreamsim_metric.judgements import read_triplets
        >>> triplets = read_triplets("examples/judged")
        >>> triplets[1]
        ('examples/vest_2.jpg', 'examples/cat.jpg', 'examples/vest_1.jpg', 0.9)
        >>> triplets.index[1], triplets.splits[1]
        (array([1, 2, 0]), 'train')
    """

    right: np.ndarray
    prompts: tuple[str, ...] | None = None
    _TARGET: ClassVar[str] = "right"
    _PICTURES_A_ROW: ClassVar[int] = 3
    _OPTIONAL: ClassVar[tuple[str, ...]] = ("subsets", "prompts")

    def __getitem__(self, i: int) -> tuple[str, str, str, float]:
        reference, left, right = (str(self.pictures[position]) for position in self.index[i])
        return reference, left, right, float(self.right[i])

    def hold_out(self, fraction: float, seed: int) -> "Triplets":
        """Set aside some of train's reference pictures with all their triplets, to choose by what is not trained on.

        The choice depends on the seed and the names of the reference pictures, not on the order of the rows. Left and
        right pictures may be on both sides.

        Args:
            fraction: share of the reference pictures in the split `train`, between 0 and 1; rounded to whole pictures.
            seed: what the random choice begins from.

        Returns:
            The same rows, those that are held out with `val` for their split in place of `train`.

        Raises:
            ValueError: no row is of the split `train`, or the fraction would leave one side empty.

        Example:
            >>> from dreamsim_metric.judgements import read_triplets
            >>> read_triplets("examples/judged").hold_out(1 / 3, seed=0).splits
            ('train', 'val', 'train', 'test', 'test', 'test')
        """
        self.split("train")  # says what there is instead
        train = self.split_masks()["train"]
        references = np.array(sorted(set(self.index[train, 0].tolist()), key=self.pictures.__getitem__), dtype=np.int64)
        held = round(fraction * len(references)) if 0 < fraction < 1 else 0
        if not 0 < held < len(references):
            raise ValueError(
                f"got fraction {fraction} of {len(references)} reference pictures in {self.name}'s train; "
                "expected one between 0 and 1 that leaves at least one picture on either side"
            )
        chosen = np.random.default_rng(seed).permutation(references)[:held]
        mask = train & np.isin(self.index[:, 0], chosen)
        return self._with(splits=tuple(np.where(mask, "val", np.array(self.splits, dtype=object)).tolist()))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pairs(Table[tuple[str, str, float]]):
    """Just-noticeable differences: do two pictures, shown briefly, look the same?

    An item is `(a, b, same)`: two paths and the share of people who said that they are the same. `index` is `(N, 2)`.
    What it has beside the columns of every `Table`:

    Attributes:
        same: share of votes for "same", `(N,)` float64 in [0, 1].

    Example:
        >>> from dreamsim_metric.judgements import read_pairs
        >>> pairs = read_pairs("examples/judged")
        >>> pairs[3], pairs.same
        (('examples/coffee.jpg', 'examples/astronaut.jpg', 0.1), array([0.3, 0. , 1. , 0.1]))
    """

    same: np.ndarray
    _TARGET: ClassVar[str] = "same"
    _PICTURES_A_ROW: ClassVar[int] = 2

    def __getitem__(self, i: int) -> tuple[str, str, float]:
        a, b = (str(self.pictures[position]) for position in self.index[i])
        return a, b, float(self.same[i])


def _list_masks(names: tuple[str, ...]) -> dict[str, np.ndarray]:
    values = np.array(names, dtype=object)
    return {name: values == name for name in dict.fromkeys(names)}


def share_pictures(*tables: Table[Any]) -> tuple[Any, ...]:
    """Give the same tables one list of pictures for all of them, so that each picture is read once."""
    places = {path: i for i, path in enumerate(dict.fromkeys(path for table in tables for path in table.pictures))}
    return tuple(
        table._with(pictures=tuple(places), index=np.array([places[path] for path in table.pictures])[table.index])
        for table in tables
    )


def check(
    tables: Sequence[Table[Any]],
    unreadable: Mapping[Path, str] | None = None,
    *,
    shared_pictures: bool = False,
) -> None:
    """Look for everything that would make training fail or its evaluation lie, before either is begun.

    Looked for: rows that the reader could not use; ids given twice in a table; shares outside [0, 1] and numbers of
    votes that are not above 0; the same picture on the left and on the right (a reference that is also one of the
    two is a catch trial, and allowed); files that are missing or unreadable; pictures that are in several splits;
    triplets and pairs that are in several splits, whichever way round. Splits are compared by name over all tables.

    Args:
        tables: all the data that is used together.
        unreadable: files that are known not to decode, and why.
        shared_pictures: whether pictures may be in several splits, for data that is split by triplet.

    Raises:
        DataError: with all that was found, by row; a file that many rows use is one line.

    Example:
        >>> from dreamsim_metric.judgements import read_triplets
        >>> check([read_triplets("examples/judged")])
    """
    problems = [f"{table.name}: {problem}" for table in tables for problem in (*table.problems, *_find_bad_rows(table))]
    reasons = {os.path.abspath(path): reason for path, reason in (unreadable or {}).items()}
    uses, repeats = _find_places(tables)
    for path, places in uses.items():
        there = os.path.isfile(path)
        if path in reasons or not there:
            reason = f"unreadable ({reasons[path]})" if there else "missing"
            problems.append(
                f"{path} is {reason}; used by {list_briefly([row for rows in places.values() for row in rows])}"
            )
    for pictures, places in repeats.items():
        if len(places) > 1:
            kind = "triplet" if len(pictures) == 3 else "pair"
            problems.append(f"the same {kind} is in {_group_by_split(places)}; expected each {kind} in one split")
    for path, places in uses.items():
        if len(places) > 1 and not shared_pictures:
            hint = "expected each picture in one split, unless shared pictures are allowed"
            problems.append(f"{path} is in {_group_by_split(places)}; {hint}")
    if problems:
        raise DataError(dict.fromkeys(problems))  # parts of one table repeat its reader's problems


def _find_places(tables: Sequence[Table[Any]]) -> tuple[dict[str, _Places], dict[tuple[str, ...], _Places]]:
    """Where each picture is, and where each triplet or pair is, sides in alphabetical order."""
    pictures: dict[str, _Places] = defaultdict(lambda: defaultdict(list))
    questions: dict[tuple[str, ...], _Places] = defaultdict(lambda: defaultdict(list))
    for table in tables:
        paths = [os.path.abspath(path) for path in table.pictures]
        for row, split, positions in zip(table.rows, table.splits, table.index.tolist(), strict=True):
            place = f"{table.name}: {row}"
            *reference, a, b = (paths[position] for position in positions)
            questions[(*reference, *sorted((a, b)))][split].append(place)
            for path in dict.fromkeys((*reference, a, b)):
                pictures[path][split].append(place)
    return pictures, questions


def _find_bad_rows(table: Table[Any]) -> Iterator[str]:
    owners = defaultdict(list)
    for name, row in zip(table.ids, table.rows, strict=True):
        owners[name].append(row)
    for name, theirs in owners.items():
        if len(theirs) > 1:
            yield f"id {name} is given to {list_briefly(theirs)}; expected each id once"
    share = getattr(table, table._TARGET)
    for i in np.flatnonzero(~((share >= 0) & (share <= 1))) if table._TARGET_IS_SHARE else ():
        yield f"{table.rows[i]}: {table._TARGET} is {share[i]:g}; expected a share of votes, in [0, 1]"
    for i in np.flatnonzero(~((table.votes > 0) & np.isfinite(table.votes))):
        yield f"{table.rows[i]}: votes is {table.votes[i]:g}; expected a number above 0"
    if isinstance(table, Triplets):
        for i in np.flatnonzero(table.index[:, 1] == table.index[:, 2]):
            yield f"{table.rows[i]}: left and right are the same picture, {table.pictures[table.index[i, 1]]}"


def _group_by_split(places: _Places) -> str:
    return " and in ".join(f"{split} ({list_briefly(rows)})" for split, rows in places.items())
