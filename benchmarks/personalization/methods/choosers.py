"""Who says which picture of a round is liked and which disliked: a metric, a file of answers, a person.

A chooser is given the pictures of one round and gives back a `Choice`; what they are compared with it knows already.
"""

import functools
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import PIL.Image

from benchmarks.metrics.base import Metric, Options
from benchmarks.metrics.registry import find_metrics
from benchmarks.personalization.methods.likeness import measure_similarities
from data_tools.filtering import keep_counted, tally, to_frame
from data_tools.ledger import VOTES
from data_tools.serving import find_free_port, start
from data_tools.study import STUDY, Study
from data_tools.tables import ROLES, write_table
from data_tools.votes import read_responses
from dreamsim_metric.files.table import Sheet
from dreamsim_metric.files.write import write_file
from dreamsim_metric.images.encoding import encode

Pictures = Sequence[PIL.Image.Image]
PERSON, ANSWERS = "person", "file:"
_OPTIONS = Options()


@dataclass(frozen=True)
class Choice:
    """The answer to a round.

    Attributes:
        liked, disliked: numbers of the pictures that are liked and disliked, counted from 0.
        scores: score of each picture, where there are any: a metric's mean over the references, in its own direction;
            how often a person preferred it.
    """

    liked: int
    disliked: int
    scores: tuple[float, ...] = ()


Chooser = Callable[[Pictures], Choice]


def make_chooser(
    name: str, references: Pictures, folder: Path | None, *, prompt: str = "", options: Options = _OPTIONS
) -> Chooser:
    """Make a chooser by its name.

    Args:
        name: `person`; `file:PATH`, see `choose_by_file`; or a metric's name, see `find_metrics`.
        references: pictures that the others are to be like.
        folder: folder for what people are asked.
        prompt: prompt that the pictures are made for.
        options: options of the metric.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown metric, one that does not compare pictures, or a person and no folder.
    """
    if name.startswith(ANSWERS):
        return choose_by_file(Path(name.removeprefix(ANSWERS)), prompt)
    if name != PERSON:
        return choose_by_metric(name, references, options)
    if folder is None:
        raise ValueError(f"got the chooser {PERSON!r} and no folder; expected one, where questions and votes are kept")
    return choose_by_person(references, folder / "asked")


def choose_by_metric(name: str, references: Pictures, options: Options = _OPTIONS) -> Chooser:
    """Make a chooser that likes what is most like the references to a metric, on average, and dislikes the least like.

    Of equals, the first is liked and the last disliked.

    Args:
        name: name of the metric, see `find_metrics`.
        references: one picture or more to be like.
        options: options of the metric.

    Raises:
        ValueError: an unknown metric, one that does not compare pictures, or no references.
    """
    metric = _load_metric(name, options)
    if metric.text is not None:
        raise ValueError(f"{name} compares pictures with prompts; expected a metric that compares two pictures")
    _check_references(references)

    def choose(pictures: Pictures) -> Choice:
        _check_round(pictures)
        alike = measure_similarities(metric, references, pictures).mean(0)
        scores = (1 - alike if metric.card.direction == "distance" else alike).tolist()
        if not np.isfinite(scores).all():
            raise ValueError(f"{name} gave {', '.join(map(str, scores))} for the pictures of a round; expected numbers")
        return _rank(scores, -1 if metric.card.direction == "distance" else 1)

    return choose


@functools.lru_cache(maxsize=1)  # a chooser is made for each prompt
def _load_metric(name: str, options: Options) -> Metric:
    makers = list(find_metrics([name]).values())
    if len(makers) != 1:
        raise ValueError(f"{name} has {len(makers)} metrics; expected one")
    return makers[0](options)


def choose_by_file(file: Path, prompt: str = "") -> Chooser:
    """Make a chooser of answers that were given before: each call is the next round.

    Args:
        file: table, `.csv`, or a JSON object a line: `round`, `liked` and `disliked`, all counted from 0. With `prompt`
            in it, an answer is for that prompt; otherwise for any.
        prompt: prompt that the pictures are made for.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something in it is no answer, or a round has two.
    """
    answers: dict[int, Choice] = {}
    for where, row in _read_rows(file):
        if row.get("prompt") not in (None, "", prompt):
            continue
        number, liked, disliked = (_parse_whole(row, name, where) for name in ("round", "liked", "disliked"))
        if number in answers:
            raise ValueError(f"{where}: round {number} has an answer already; expected one a round")
        if liked == disliked:
            raise ValueError(f"{where}: picture {liked} is liked and disliked; expected two different ones")
        answers[number] = Choice(liked, disliked)
    asked = 0

    def choose(pictures: Pictures) -> Choice:
        nonlocal asked
        number, count = asked, _check_round(pictures)
        if number not in answers:
            held = ", ".join(map(str, sorted(answers))) or "none"
            raise ValueError(f"{file} has no answer for round {number}; add one (it has those of {held})")
        for name in ("liked", "disliked"):
            if getattr(answers[number], name) >= count:
                raise ValueError(
                    f"{file} has {name} {getattr(answers[number], name)} in round {number}, of {count} pictures; "
                    f"expected 0 to {count - 1}"
                )
        asked += 1
        return answers[number]

    return choose


def _read_rows(file: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Read each answer and where it is."""
    if file.suffix.lower() == ".csv":
        sheet = Sheet(file)
        sheet.require(("round", "liked", "disliked"))
        for found in sheet.rows(lambda record: record):
            if isinstance(found, str):
                raise ValueError(found)
            yield found.where, dict(found.cells)
        return
    if not file.is_file():
        raise FileNotFoundError(f"no such file of answers: {file}")
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{file}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where} is no JSON ({error}); expected an object a line") from error
        if not isinstance(row, dict):
            raise ValueError(f'{where}: got {line.strip()[:60]}; expected {{"round": 0, "liked": 2, "disliked": 1}}')
        yield where, row


def _parse_whole(row: dict[str, object], name: str, where: str) -> int:
    text = str(row.get(name, "nothing")).strip()
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{where}: got {name} {text}; expected a whole number, counted from 0")
    return int(text)


def choose_by_person(
    references: Pictures, folder: Path, votes: int = 1, tell: Callable[[str], None] | None = None, every: float = 0.5
) -> Chooser:
    """Make a chooser that asks people on the experiment's page: which of two pictures looks more like a reference?

    All pairs of a round's pictures are asked with each reference. Liked is the picture that was preferred most often,
    disliked the one that was least often; of equals, the first is liked and the last disliked. A round whose pictures
    were asked about before goes on where it was, or is over.

    Args:
        references: one picture or more to be like; with only one, rounds need three pictures.
        folder: folder that gets a folder a round, named by its pictures: they, `study.json` and the votes.
        votes: votes that each question gets.
        tell: function that is told the page's address; default: it is written to stderr.
        every: seconds after which votes are looked for.

    Raises:
        ValueError: no references.
    """
    _check_references(references)

    def choose(pictures: Pictures) -> Choice:
        pairs = list(combinations(range(_check_round(pictures)), 2)) * len(references)
        if len(pairs) < 2:
            raise ValueError(
                "got one reference and two pictures; expected another reference or picture: one question is no study"
            )
        place = _ask(references, pictures, pairs, folder, votes)
        study = Study.read(place)
        if not _check_answered(place, study, len(pairs)):
            _serve(place, study, len(pairs), tell or _to_stderr, every)
        wins = [0.0] * len(pictures)
        for item, row in tally(keep_counted(to_frame(read_responses(place, study)), study), study.task).iterrows():
            left, right = pairs[int(str(item))]
            wins[left] += float(row["left"])
            wins[right] += float(row["right"])
        return _rank(wins, 1)

    return choose


def _ask(references: Pictures, pictures: Pictures, pairs: Sequence[tuple[int, int]], folder: Path, votes: int) -> Path:
    """Write the questions about a round, unless they are there, and return the folder of the study."""
    files = {f"pictures/reference-{i}.png": encode(picture) for i, picture in enumerate(references)}
    files |= {f"pictures/{i}.png": encode(picture) for i, picture in enumerate(pictures)}
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in files.values())).hexdigest()[:16]
    place = folder / f"round-{digest}"
    if (place / STUDY).is_file():
        return place
    (place / "pictures").mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_file(place / name, data)
    about = {"prompt": "", "category": "", "dropped": None}
    each = len(pairs) // len(references)
    write_table(
        place,
        [
            {"group": i, "part": role, "path": f"pictures/{name}.png", **about}
            for i, (left, right) in enumerate(pairs)
            for role, name in zip(ROLES, (f"reference-{i // each}", left, right), strict=True)
        ],
    )
    # No obvious questions, and no doubts: whoever is asked here wants the pictures. A short lease: served again it has
    # another port, to which browsers do not send the token that holds the last questions.
    study = replace(
        Study.of(place),
        rounds=(votes,),
        trials=len(pairs),
        practice=0,
        sentinel_every=0,
        min_answers=0,
        min_wait_ms=0,
        lease_minutes=0.5,
    )
    study.write(place)
    return place


def _serve(place: Path, study: Study, questions: int, tell: Callable[[str], None], every: float) -> None:
    """Serve a study until all of its questions have their votes."""
    port = find_free_port()
    server = start(place, port, stdout=subprocess.DEVNULL)
    try:
        tell(f"http://127.0.0.1:{port}/")
        while not _check_answered(place, study, questions):
            if server.poll() is not None:
                raise RuntimeError(f"the server of {place} ended with {server.returncode}; start again to go on")
            time.sleep(every)
    finally:
        server.terminate()
        server.wait()


def _check_answered(place: Path, study: Study, questions: int) -> bool:
    if not (place / VOTES).is_file():
        return False
    counts = tally(keep_counted(to_frame(read_responses(place, study)), study), study.task)
    return len(counts) == questions and bool((counts.votes >= study.rounds[0]).all())


def _to_stderr(address: str) -> None:
    print(f"which pictures are most like the photographs? Say so at {address}", file=sys.stderr, flush=True)


def _rank(scores: Sequence[float], sign: int) -> Choice:
    order = sorted(range(len(scores)), key=lambda i: -sign * scores[i])
    return Choice(order[0], order[-1], tuple(scores))


def _check_round(pictures: Pictures) -> int:
    if len(pictures) < 2:
        raise ValueError(
            f"got {len(pictures)} pictures in a round; expected two or more: one is liked and one disliked"
        )
    return len(pictures)


def _check_references(references: Pictures) -> None:
    if not references:
        raise ValueError("got no references; expected one or more, which pictures are compared with")
