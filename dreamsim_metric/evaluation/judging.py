"""How well a metric agrees with people, on triplets (2AFC) and pairs (JND), with what it needs to be believed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from dreamsim_metric.card import Curve, ModelCard
from dreamsim_metric.distances import pair_distances, triplet_distances
from dreamsim_metric.files.json_file import write_json
from dreamsim_metric.files.table import write_csv
from dreamsim_metric.judgements.agreement import (
    average_precision,
    by_margin,
    hardest,
    majority_agreement,
    vote_agreement,
    vote_ceiling,
)
from dreamsim_metric.judgements.calibration import calibration_error, fit_left, fit_same, mirrored, reliability
from dreamsim_metric.judgements.resampling import Resamples, interval
from dreamsim_metric.judgements.tables import Pairs, Triplets, check, on_common_pictures
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.scale.cache import Cache
from dreamsim_metric.scale.embedding import Embedder, Options

Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """A metric's distances beside people's judgements.

    Attributes:
        triplets: who was compared, none where the data has only pairs.
        left, right: `(N,)` distances of the triplets' sides from the reference.
        pairs: who was compared, none where the data has only triplets.
        distances: `(M,)` distances of the pairs.
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
    """Distances of everything that people judged; each picture is decoded and embedded once.

    Args:
        metric: any, tuned or not.
        triplets, pairs: one of them at least.
        cache: of what was embedded before.
        batch_size: pictures embedded at once.
        workers: threads that decode; None for one a core, at most 16.

    Raises:
        DataError: rows malformed, or pictures missing or unreadable: all of them, by row.
    """
    import torch

    tables = [table for table in (triplets, pairs) if table is not None]
    common = {type(table): table for table in on_common_pictures(*tables)}
    embedder = Embedder(metric, cache, Options(batch_size=batch_size, workers=workers, progress=True))
    found = embedder(list(map(str, next(iter(common.values())).pictures)))
    check(tables, {Path(name): why for name, why in found.unreadable.items()}, shared_pictures=True)
    units = found.units  # of all pictures, in order
    left = right = distances = np.zeros(0)
    if Triplets in common:
        left, right = (d.numpy() for d in triplet_distances(units, torch.from_numpy(common[Triplets].index)))
    if Pairs in common:
        a, b = torch.from_numpy(common[Pairs].index).T
        distances = pair_distances(units[a], units[b]).numpy()
    return Judged(triplets, left, right, pairs, distances)


def scores(judged: Judged, card: ModelCard) -> list[Row]:
    """The table of an evaluation: a score a row, with 95 % bootstrap intervals.

    `low` and `high` resample triplets (or pairs), `ref_low` and `ref_high` resample reference pictures with all their
    triplets: triplets of one reference are not independent, so the latter are the ones to publish.

    Returns:
        Rows with score, value, low, high, ref_low, ref_high and n.
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
                for bound in interval(Resamples(groups, draws=2000).means(values[kept]))
            ]
            rows.append(_row(name, 100 * np.nanmean(values), intervals, n))
        for part in by_margin(*sides, share):
            rows.append(_row(f"2AFC majority, margin {part['margin']}, %", part["agreement"], n=part["triplets"]))
        if card.left is not None:
            error = calibration_error(*_left_judgements(card.left, judged))
            rows.append(_row("calibration error of probability_left", error, n=len(share)))
    if judged.pairs is not None:
        same = judged.pairs.same
        d = judged.distances
        draws = Resamples(np.arange(len(d)), draws=500).statistics(lambda some: average_precision(d[some], same[some]))
        bounds = [100 * bound for bound in interval(draws)]
        rows.append(_row("JND average precision, %", 100 * average_precision(d, same), bounds, len(d)))
        if card.same is not None:
            error = calibration_error(_predict(card.same, d), same, judged.pairs.votes)
            rows.append(_row("calibration error of probability_same", error, n=len(d)))
    return rows


def _row(score: str, value: float, intervals: Sequence[float] = (), n: int = 0) -> Row:
    bounds = [*map(float, intervals), None, None, None, None][:4]
    names = ("low", "high", "ref_low", "ref_high")
    return {"score": score, "value": float(value), **dict(zip(names, bounds, strict=True)), "n": int(n)}


def _left_judgements(curve: Curve, judged: Judged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    triplets = cast(Triplets, judged.triplets)
    probability = _predict(curve, judged.left - judged.right)
    return mirrored(probability, 1 - triplets.right, triplets.votes)


def _predict(curve: Curve, x: np.ndarray) -> np.ndarray:
    import torch

    return curve(torch.from_numpy(np.asarray(x, dtype=np.float64))).numpy()


def calibrate(judged: Judged, card: ModelCard, data: str) -> ModelCard:
    """The card with psychometric curves fitted to what people judged; curves that there is no data for stay.

    Args:
        judged: on data that was neither trained nor is to be reported on.
        card: of the metric.
        data: its name and split, for the card.

    Raises:
        ValueError: too few or too uniform judgements.
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

    Raises:
        OSError: the disk is full or not writable.
    """
    from dreamsim_metric.evaluation.diagram import draw_reliability
    from dreamsim_metric.evaluation.sheet import SheetRow, triplet_sheet

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
        worst = hardest(judged.left, judged.right, triplets.right, triplets.votes, hardest_n)
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
            triplet_sheet(sheet, folder / "hardest.png")
        if card.left is not None:
            judgements = _left_judgements(card.left, judged)
            bins, error = reliability(*judgements), calibration_error(*judgements)
            draw_reliability(bins, error, folder / "reliability_left.png", "left judged nearer")
    if (pairs := judged.pairs) is not None:
        columns = zip(pairs.ids, judged.distances.tolist(), pairs.same.tolist(), pairs.votes.tolist(), strict=True)
        table = [{"id": name, "distance": d, "same": same, "votes": votes} for name, d, same, votes in columns]
        write_csv(folder / "pairs.csv", table)
        if card.same is not None:
            judgements = _predict(card.same, judged.distances), pairs.same, pairs.votes
            bins, error = reliability(*judgements), calibration_error(*judgements)
            draw_reliability(bins, error, folder / "reliability_same.png", "judged the same")
