"""How well a metric agrees with people, on triplets (2AFC) and pairs (JND), with what it needs to be believed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from dreamsim_metric.card import Curve, ModelCard
from dreamsim_metric.distances import compare_triplets, pair_distances
from dreamsim_metric.files.json_file import write_json
from dreamsim_metric.files.table import Row, write_csv
from dreamsim_metric.judgements.agreement import (
    average_precision,
    find_hardest,
    group_by_margin,
    majority_agreement,
    vote_agreement,
    vote_ceiling,
)
from dreamsim_metric.judgements.calibration import calibration_error, fit_left, fit_same, mirror, tabulate_reliability
from dreamsim_metric.judgements.resampling import Resamples, find_interval
from dreamsim_metric.judgements.tables import Pairs, Triplets, check, share_pictures
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.scale.cache import Cache
from dreamsim_metric.scale.embedding import Embedder, Options


@dataclass(frozen=True)
class Judged:
    """A metric's distances beside people's judgements.

    Attributes:
        triplets: the triplets that were compared, none where the data has only pairs.
        left, right: distances `(N,)` of the triplets' sides from the reference.
        pairs: the pairs that were compared, none where the data has only triplets.
        distances: distances `(M,)` of the pairs.

    Example:
        >>> from dreamsim_metric.judgements import read_pairs
        >>> pairs = read_pairs("examples/judged")
        >>> Judged(None, np.zeros(0), np.zeros(0), pairs, distances=np.array([0.1, 1.0, 0.0, 0.7])).pairs.same
        array([0.3, 0. , 1. , 0.1])
    """

    triplets: Triplets | None
    left: np.ndarray
    right: np.ndarray
    pairs: Pairs | None
    distances: np.ndarray


def judge(
    metric: PerceptualMetric,
    triplets: Triplets | None,
    pairs: Pairs | None,
    cache: Cache | None = None,
    *,
    batch_size: int = 32,
    workers: int | None = None,
) -> Judged:
    """Compute the distances of everything that people judged; each picture is decoded and embedded once.

    Args:
        metric: any metric, tuned or not.
        triplets, pairs: tables of judgements, one of them at least.
        cache: store of what was embedded before.
        batch_size: pictures embedded at once.
        workers: threads that decode; None for one a core, at most 16.

    Raises:
        DataError: rows malformed, or pictures missing or unreadable: all of them, by row.

    Example:
        >>> from dreamsim_metric import load
        >>> from dreamsim_metric.judgements import read_triplets
        >>> judged = judge(load("mini"), read_triplets("examples/judged"), None)
        >>> judged.left.round(2)
        array([0.11, 1.08, 1.02, 0.71, 0.71, 0.84], dtype=float32)
    """
    import torch

    tables = [table for table in (triplets, pairs) if table is not None]
    common = {type(table): table for table in share_pictures(*tables)}
    embedder = Embedder(metric, cache, Options(batch_size=batch_size, workers=workers, progress=True))
    found = embedder(list(map(str, next(iter(common.values())).pictures)))
    check(tables, {Path(name): why for name, why in found.unreadable.items()}, shared_pictures=True)
    units = found.units  # of all pictures, in order
    left = right = distances = np.zeros(0)
    if Triplets in common:
        left, right = (d.numpy() for d in compare_triplets(units, torch.from_numpy(common[Triplets].index)))
    if Pairs in common:
        a, b = torch.from_numpy(common[Pairs].index).T
        distances = pair_distances(units[a], units[b]).numpy()
    return Judged(triplets, left, right, pairs, distances)


def tabulate_scores(judged: Judged, card: ModelCard) -> list[Row]:
    """Make the table of an evaluation: a score a row, with 95 % bootstrap intervals.

    `low` and `high` resample triplets (or pairs), `ref_low` and `ref_high` resample reference pictures with all their
    triplets: triplets of one reference are not independent, so the latter are the ones to publish.

    Args:
        judged: the metric's distances beside people's judgements.
        card: the metric's card, whose curves are scored too.

    Returns:
        Rows with score, value, low, high, ref_low, ref_high and n.

    Example:
        >>> from dreamsim_metric import load
        >>> from dreamsim_metric.judgements import read_triplets
        >>> metric = load("mini")
        >>> row = tabulate_scores(judge(metric, read_triplets("examples/judged"), None), metric.card)[0]
        >>> row["score"], round(row["value"], 1), row["n"]
        ('2AFC agreement with the majority, %', 83.3, 6)
    """
    rows = []
    if judged.triplets is not None:
        share = judged.triplets.right
        sides = judged.left, judged.right
        references = judged.triplets.index[:, 0]
        majority = majority_agreement(*sides, share)
        for name, values in (
            ("2AFC agreement with the majority, %", majority),
            ("2AFC agreement with the votes, %", vote_agreement(*sides, share)),
            ("2AFC votes, the most any metric can have, %", vote_ceiling(share)),
        ):
            if np.isnan(values).all():
                continue
            kept = ~np.isnan(values)
            n = int(np.count_nonzero(kept))
            intervals = [
                100 * bound
                for groups in (np.arange(n), references[kept])
                for bound in find_interval(Resamples(groups, draws=2000).means(values[kept]))
            ]
            rows.append(_make_row(name, 100 * np.nanmean(values), intervals, n))
        for part in group_by_margin(*sides, share):
            rows.append(_make_row(f"2AFC majority, margin {part['margin']}, %", part["agreement"], n=part["triplets"]))
        if card.left is not None:
            error = calibration_error(*_list_left_judgements(card.left, judged))
            rows.append(_make_row("calibration error of probability_left", error, n=len(share)))
    if judged.pairs is not None:
        same = judged.pairs.same
        d = judged.distances
        draws = Resamples(np.arange(len(d)), draws=500).statistics(lambda some: average_precision(d[some], same[some]))
        bounds = [100 * bound for bound in find_interval(draws)]
        rows.append(_make_row("JND average precision, %", 100 * average_precision(d, same), bounds, len(d)))
        if card.same is not None:
            error = calibration_error(_predict(card.same, d), same, judged.pairs.votes)
            rows.append(_make_row("calibration error of probability_same", error, n=len(d)))
    return rows


def _make_row(score: str, value: float, intervals: Sequence[float] = (), n: int = 0) -> Row:
    bounds = [*map(float, intervals), None, None, None, None][:4]
    names = ("low", "high", "ref_low", "ref_high")
    return {"score": score, "value": float(value), **dict(zip(names, bounds, strict=True)), "n": int(n)}


def _list_left_judgements(curve: Curve, judged: Judged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    triplets = cast(Triplets, judged.triplets)
    probability = _predict(curve, judged.left - judged.right)
    return mirror(probability, 1 - triplets.right, triplets.votes)


def _predict(curve: Curve, x: np.ndarray) -> np.ndarray:
    import torch

    return curve(torch.from_numpy(np.asarray(x, dtype=np.float64))).numpy()


def calibrate(judged: Judged, card: ModelCard, data: str) -> ModelCard:
    """Fit psychometric curves to what people judged, and put them on the card; curves without data stay as they are.

    Args:
        judged: judgements that were neither trained on nor are to be reported on.
        card: the metric's card.
        data: name of the data set and split, for the card.

    Returns:
        A new card.

    Raises:
        ValueError: too few or too uniform judgements.

    Example:
        >>> from dreamsim_metric import load
        >>> card, d = load("mini").card, np.linspace(0, 1, 100)
        >>> names, places = tuple(map(str, range(100))), np.zeros((100, 2), dtype=np.int64)
        >>> pairs = Pairs(
        ...     name="made up",
        ...     ids=names,
        ...     pictures=(Path("examples/cat.jpg"),),
        ...     index=places,
        ...     same=1 / (1 + np.exp((d - 0.3) / 0.1)),
        ...     votes=np.full(100, 10.0),
        ...     splits=("val",) * 100,
        ...     rows=names,
        ...     problems=(),
        ... )
        >>> same = calibrate(Judged(None, np.zeros(0), np.zeros(0), pairs, d), card, "made up val").same
        >>> round(same.threshold, 3), round(same.scale, 3)
        (0.3, 0.1)
    """
    if judged.triplets is not None:
        share, votes = judged.triplets.right, judged.triplets.votes
        card = replace(card, left=fit_left(judged.left, judged.right, share, votes, data))
    if judged.pairs is not None:
        card = replace(card, same=fit_same(judged.distances, judged.pairs.same, judged.pairs.votes, data))
    return card


def write_report(folder: Path, judged: Judged, card: ModelCard, rows: list[Row], about: Row, hardest_n: int) -> None:
    """Write what an evaluation found.

    `evaluation.json` (settings and scores), `triplets.csv` and `pairs.csv` (a row each with the distances),
    `hardest.png` (the triplets where the metric is most against people), `reliability_left.png` and
    `reliability_same.png` where the card has those curves.

    Args:
        folder: the folder to write to; made if it is not there.
        judged: the metric's distances beside people's judgements.
        card: the metric's card.
        rows: the table of `scores`.
        about: settings of the evaluation, for `evaluation.json`.
        hardest_n: the most triplets on the sheet.

    Raises:
        OSError: the disk is full or not writable.

    Example:
        >>> import tempfile
        >>> from dreamsim_metric import load
        >>> from dreamsim_metric.judgements import read_pairs
        >>> metric = load("mini")
        >>> judged = judge(metric, None, read_pairs("examples/judged"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rows = tabulate_scores(judged, metric.card)
        ...     write_report(Path(folder), judged, metric.card, rows, {"model": "mini"}, 12)
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['evaluation.json', 'pairs.csv']
    """
    from dreamsim_metric.evaluation.diagram import draw_reliability
    from dreamsim_metric.evaluation.sheet import SheetRow, write_triplet_sheet

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "evaluation.json", {**about, "scores": rows})
    if (triplets := judged.triplets) is not None:
        table = [
            {"id": name, "left_distance": left, "right_distance": right, "right_share": share, "votes": votes}
            for name, left, right, share, votes in zip(
                triplets.ids,
                judged.left.tolist(),
                judged.right.tolist(),
                triplets.right.tolist(),
                triplets.votes.tolist(),
                strict=True,
            )
        ]
        write_csv(folder / "triplets.csv", table)
        worst = find_hardest(judged.left, judged.right, triplets.right, triplets.votes, hardest_n)
        if len(worst):
            sheet = [
                SheetRow(
                    triplets.ids[i],
                    reference=triplets.pictures[triplets.index[i, 0]],
                    left=triplets.pictures[triplets.index[i, 1]],
                    right=triplets.pictures[triplets.index[i, 2]],
                    share=float(triplets.right[i]),
                    votes=float(triplets.votes[i]),
                    left_distance=float(judged.left[i]),
                    right_distance=float(judged.right[i]),
                )
                for i in worst
            ]
            write_triplet_sheet(sheet, folder / "hardest.png")
        if card.left is not None:
            judgements = _list_left_judgements(card.left, judged)
            bins, error = tabulate_reliability(*judgements), calibration_error(*judgements)
            draw_reliability(bins, error, folder / "reliability_left.png", "left judged nearer")
    if (pairs := judged.pairs) is not None:
        columns = zip(pairs.ids, judged.distances.tolist(), pairs.same.tolist(), pairs.votes.tolist(), strict=True)
        table = [{"id": name, "distance": d, "same": same, "votes": votes} for name, d, same, votes in columns]
        write_csv(folder / "pairs.csv", table)
        if card.same is not None:
            judgements = _predict(card.same, judged.distances), pairs.same, pairs.votes
            bins, error = tabulate_reliability(*judgements), calibration_error(*judgements)
            draw_reliability(bins, error, folder / "reliability_same.png", "judged the same")
