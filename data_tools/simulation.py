"""Simulated raters: a model of a noisy observer, for trying a study out. Nothing that it says is a person's judgement.

A rater answers as a metric says, with noise: "left" with probability

    lapse / 2 + (1 − lapse) · logistic((d(reference, right) − d(reference, left)) / noise),

and "same" of a pair with the same formula and `threshold − d(a, b)` in place of the difference. They use the server as
the page does, and their build is `simulated`, which exports and statistics show.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from data_tools.names import Names
from data_tools.presentation import PLANNED
from data_tools.secret import STUDY_SECRET, read_secret
from data_tools.study import ANSWERS, Study

BUILD = "simulated"


@dataclass(frozen=True)
class Observer:
    """How a simulated rater answers.

    Attributes:
        noise: noise of the decision, in units of distance.
        lapse: share of answers given without looking.
        threshold: the distance that is called "same" half of the time.
        careless: share of raters who never look.
        seed: seed of all choices.
    """

    noise: float = 0.05
    lapse: float = 0.02
    threshold: float = 0.2
    careless: float = 0.0
    seed: int = 0


def compute_evidence(study: Study, observer: Observer, model: str = "mini") -> dict[str, float]:
    """Compute for each question how much speaks for the first of its answers, `left` or `same`, in units of distance.

    Args:
        study: whose pictures are compared.
        observer: its threshold.
        model: name of a model, as `dreamsim_metric.load` takes it.
    """
    from dreamsim_metric import load
    from dreamsim_metric.scale.embedding import Options
    from dreamsim_metric.scale.scoring import embed_files

    items = study.items()
    files = list(dict.fromkeys(path for item in items for path in item.pictures))
    names = [str(Path(study.pictures) / path) for path in files]
    units = embed_files(names, load(model), options=Options(on_error="raise", progress=True)).units.double()
    vectors = dict(zip(files, units, strict=True))

    def distance(a: str, b: str) -> float:
        return 1 - float(vectors[a] @ vectors[b])

    if study.task == "2afc":
        return {
            item.id: distance(item.pictures[0], item.pictures[2]) - distance(item.pictures[0], item.pictures[1])
            for item in items
        }
    return {item.id: observer.threshold - distance(*item.pictures) for item in items}


def simulate(
    url: str,
    folder: Path,
    raters: int,
    observer: Observer = Observer(),
    *,
    at_once: int = 8,
    model: str = "mini",
    patience: float = 30,
    heard: Callable[[str, str, float], None] = lambda rater, item, seconds: None,
) -> int:
    """Let simulated raters take part until each has its code.

    Args:
        url: address of the server.
        folder: folder of the study that it serves, with its secret.
        raters: how many.
        observer: what they are like.
        at_once: raters that answer at the same time.
        model: whose distances they see.
        patience: seconds to go on trying where the server cannot be reached, as the page does.
        heard: called with rater, question and seconds after each answer that the server acknowledged.

    Returns:
        How many screens were answered.

    Raises:
        FileNotFoundError, ValueError: Same as in `Study.read`.
        httpx2.HTTPError: the server cannot be reached, or refuses.
    """
    study, names = Study.read(folder), Names(read_secret(folder / STUDY_SECRET))
    known = {names.item(item): value for item, value in compute_evidence(study, observer, model).items()}
    answered, lock = 0, threading.Lock()
    proof = {"Authorization": f"Bearer {names.simulation}"}
    presented = PLANNED if study.task == "jnd" else (0.0,)

    def rate(number: int) -> None:
        nonlocal answered
        random = np.random.default_rng((observer.seed, number))
        lapse = 1.0 if random.random() < observer.careless else observer.lapse
        with httpx2.Client(base_url=url, timeout=30, headers=proof) as client:
            rater = _call(client, patience, "POST", "/api/raters", {"agreed": True, "build": BUILD})["rater"]
            state = _call(client, patience, "GET", f"/api/raters/{rater}")
            while state["screens"]:
                screen = state["screens"][0]
                answers = []
                for item in screen["items"]:
                    chance = lapse / 2 + (1 - lapse) * (0.5 + 0.5 * np.tanh(known[item["item"]] / observer.noise / 2))
                    answer = ANSWERS[study.task][int(random.random() >= chance)]
                    took = float(np.exp(random.normal(7.2, 0.4)))  # 1.3 s in the middle
                    answers.append({"item": item["item"], "answer": answer, "response_ms": round(took, 1)})
                sent = {"screen": screen["screen"], "answers": answers, "presented": presented, "build": BUILD}
                begun = time.perf_counter()
                state = _call(client, patience, "POST", f"/api/raters/{rater}/answers", sent)
                with lock:
                    answered += 1
                    for item in screen["items"]:
                        heard(rater, item["item"], time.perf_counter() - begun)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(rate, range(raters)))
    return answered


def _call(client: httpx2.Client, patience: float, method: str, path: str, sent: object = None) -> dict[str, Any]:
    end = time.monotonic() + patience
    while True:
        try:
            response = client.request(method, path, json=sent)
            break
        except httpx2.TransportError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
    response.raise_for_status()
    found: dict[str, Any] = response.json()
    return found
