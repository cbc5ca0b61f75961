"""Rows about statistics of judgements, and about sets of embeddings."""

import contextlib
import io

import numpy as np

from data_tools.agreement import compute_alpha
from dreamsim_metric.judgements.agreement import average_precision
from examples.differences.formulas import as_value
from examples.differences.rows import Row, Value, or_error


def ties() -> Row:
    """Score pairs that all have one distance."""
    same = np.zeros(1000)
    same[:300] = 1
    distances = np.full(1000, 0.5)

    def by_lpips() -> float:
        import lpips

        order = np.argsort(distances, kind="stable")
        hits = np.cumsum(same[order])
        return float(lpips.voc_ap(hits / same.sum(), hits / np.arange(1, 1001)))

    def by_sklearn() -> float:
        from sklearn.metrics import average_precision_score

        return float(average_precision_score(same, -distances))

    return Row(
        "JND average precision of 1,000 pairs at one distance, of which the first 300 are the same",
        {
            "lpips: voc_ap, as in its own evaluation": by_lpips,
            "scikit-learn": by_sklearn,
            "dreamsim_metric": lambda: average_precision(distances, same),
        },
        "pairs of one distance are taken one by one, in the order of the rows, or together",
        "together",
    )


def unanimous() -> Row:
    """Measure the agreement of raters who all gave one answer."""
    votes = np.zeros((3, 20), int)  # raters, questions

    def by_krippendorff() -> float:
        import krippendorff

        return float(krippendorff.alpha(reliability_data=votes, level_of_measurement="nominal"))

    def by_evalica() -> float:
        import evalica
        import pandas as pd

        return float(evalica.alpha(pd.DataFrame(votes), distance="nominal").alpha)

    def by_simpledorff() -> float:
        import pandas as pd
        import simpledorff

        table = pd.DataFrame(
            [(r, q, votes[r, q]) for r in range(3) for q in range(20)], columns=["rater", "unit", "vote"]
        )
        return float(simpledorff.calculate_krippendorffs_alpha_for_df(table, "unit", "rater", "vote"))

    return Row(
        "Krippendorff's alpha where all votes are one answer",
        {
            "krippendorff": lambda: or_error(by_krippendorff),
            "evalica": lambda: or_error(by_evalica),
            "simpledorff": lambda: or_error(by_simpledorff),
            "dreamsim_metric": lambda: as_value(compute_alpha(np.array([[3, 0]] * 20))),
        },
        "0 / 0: no disagreement, and none expected",
        "NaN",
    )


def undefeated() -> Row:
    """Rank three items of which one never lost, by Bradley and Terry's model."""
    wins = [(0, 1), (0, 1), (1, 2), (2, 1), (0, 2)]  # winner, loser

    def by_choix(name: str) -> Value:
        import choix

        def spread() -> float:
            found = getattr(choix, name)(3, wins)
            return float(found[0] - found[1])

        return or_error(spread)

    def by_evalica() -> float:
        import evalica

        winners, losers = zip(*wins, strict=True)
        found = evalica.bradley_terry(winners, losers, [evalica.Winner.X] * len(wins)).scores
        return float(np.log(found[0] / found[1]))

    return Row(
        "Bradley–Terry with an item that never lost: by how much its log strength exceeds the next one's (exact: ∞)",
        {
            "choix: ilsr_pairwise": lambda: by_choix("ilsr_pairwise"),
            "choix: mm_pairwise": lambda: by_choix("mm_pairwise"),
            "choix: opt_pairwise": lambda: by_choix("opt_pairwise"),
            "evalica": by_evalica,
        },
        "an error; a slight prior; or, in evalica, 0 / 0 replaced by the tolerance, which makes all items equal",
        "agreement is counted, strengths are not fitted",
        tolerance=0.1,
    )


def itself_six_times() -> Row:
    """Compute the precision of a set of embeddings that has each vector six times, against itself."""
    once = np.random.default_rng(0).integers(-8, 9, (100, 64))  # whole numbers, whose distances are exact
    vectors = np.repeat(once, 6, axis=0).astype(float)

    def by_prdc() -> float:
        from prdc import compute_prdc

        with contextlib.redirect_stdout(io.StringIO()):  # it says how many there are
            return float(compute_prdc(vectors, vectors, nearest_k=5)["precision"])

    return Row(
        "Precision (5 neighbours) of a set of embeddings against itself, each vector in it six times (expected: 1)",
        {"prdc": by_prdc},
        "the distance to the fifth neighbour is 0, and only what is nearer than that counts",
        "not computed",
    )


def copies_in_a_graph() -> Row:
    """Search among copies of one vector."""

    def recall(copies: int) -> float:
        import faiss

        random = np.random.default_rng(0)
        vectors = random.standard_normal((10_000, 32)).astype(np.float32)
        vectors[:copies] = vectors[0]
        queries = random.standard_normal((200, 32)).astype(np.float32)
        graph, exact = faiss.IndexHNSWFlat(32, 16), faiss.IndexFlatL2(32)
        graph.add(vectors)
        exact.add(vectors)
        found, expected = graph.search(queries, 10)[1], exact.search(queries, 10)[1]
        return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, expected, strict=True)]))

    return Row(
        "Recall of 10 neighbours in a graph (HNSW) of 10,000 vectors, queries far from any copy",
        {
            "faiss-cpu: all different": lambda: recall(0),
            "faiss-cpu: 1,000 copies of one": lambda: recall(1000),
        },
        "links of the graph are spent on copies",
        "inverted lists, no graph: [scoring.md](scoring.md)",
        tolerance=0.05,
    )


ROWS = (ties, unanimous, undefeated, itself_six_times, copies_in_a_graph)
