"""The page of a run: its figures are the tables', its pictures the run's, and what is not there is said or left out."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch

from benchmarks.metrics.base import Metric, MetricCard, Options
from benchmarks.metrics.registry import find_metrics
from benchmarks.personalization.columns import COMPARISON_COLUMNS
from benchmarks.personalization.layout import PHOTOGRAPHS
from benchmarks.personalization.scoring import score
from benchmarks.personalization.subjects import read_subjects
from benchmarks.report.charts import Line
from benchmarks.report.figures import arrange_comparisons, format_number, make_column
from benchmarks.report.personalization import write_personalization_report
from benchmarks.report.published import PUBLISHED
from benchmarks.report.tradeoff import Axis, draw_tradeoff, find_pareto_front
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.scale.cache import Cache
from tests.browser import browser as browser
from tests.browser import needs_browser
from tests.places import ROOT

METHODS = ("<b>", "pays $5 $6", "words")
NOUNS = {"cat2": "cat", "cat3": "cat", "robot": "toy"}
PROMPTS = {"a {} in the snow": "recontextualization", "a red {}": "property", "a blue {}": "property"}
SLUGS = ("a-in-the-snow", "a-red", "a-blue")
VOID = {"meta", "link", "img", "br", "input", "line", "circle", "path", "use", "rect"}


class Colour(Metric):
    """Distance of mean colours."""

    card = MetricCard("colour", "distance", (0, 2), "8 × 8", "none")

    def read(self, picture, size=None):
        return to_pixels(picture, (8, 8))[0]

    def features(self, pixels):
        return (pixels.mean((2, 3)),)

    def compare(self, a, b):
        return (a[0] - b[0]).norm(dim=-1)


class Words(Colour):
    """A picture's redness, for a prompt of any words."""

    card = MetricCard("redness", "similarity", (-1, 1), "8 × 8", "none")
    embeds = True

    def text(self, prompts):
        return torch.tensor([[1.0, 0.0, 0.0]] * len(prompts))

    def compare(self, a, b):
        return (a[0] * b[0]).sum(-1)


def absent(options):
    raise ConnectionError("no <network>")


def paint(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (24, 16), tuple(int(value) for value in colour)).save(path)


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of three methods: one lacks a picture, one has failed once; with costs, a tree and feedback."""
    root = tmp_path_factory.mktemp("personalization")
    random = np.random.default_rng(0)
    for name in NOUNS:
        for i in range(2):
            paint(root / "subjects" / name / f"{i}.png", random.integers(0, 256, 3))
    (root / "subjects" / "subjects.csv").write_text("subject,class\n" + "".join(f"{a},{b}\n" for a, b in NOUNS.items()))
    (root / "subjects" / "prompts.csv").write_text("prompt,kind\n" + "".join(f"{a},{b}\n" for a, b in PROMPTS.items()))
    run = root / "run"
    for method in METHODS:
        for name in NOUNS:
            for slug in (*SLUGS, "class"):
                for seed in (3, 4):
                    if (method, name, slug) != ("words", "robot", "a-red"):
                        paint(run / "pictures" / method / name / slug / f"{seed}.png", random.integers(0, 256, 3))
    lines(run / "manifest.jsonl", [])
    plan = {"model": "tiny <model>", "revision": "abc", "variant": None, "dtype": "float32", "scheduler": "DDIM"}
    plan |= {"sampling": {"steps": 7, "guidance": 7.5}, "seeds": 2, "class_pictures": 2, "device": "cpu"}
    (run / "settings.json").write_text(json.dumps(plan | {"versions": {"diffusers": "9.9"}}))
    costs = [
        {"method": method, "subject": name, "stage": stage, "count": count, "seconds": seconds * (m + 1)}
        | {"peak_bytes": (m + 1) * 2**30}
        for m, method in enumerate(METHODS)
        for name, (fit, sample) in zip(NOUNS, ((10, 1), (20, 2), (60, 3)), strict=True)
        for stage, count, seconds in (("fit", 1, fit), ("sample", 8, sample))
    ]
    lines(run / "costs.jsonl", costs)
    failed = {"stage": "fit", "error": "out of <memory>"}
    lines(run / "failures.jsonl", [{"method": "words", "subject": name, **failed} for name in ("robot", "dog")])
    paint(run / "fits" / "words" / "cat2" / "tree.png", (255, 255, 255))
    for name in ("liked", "disliked"):
        paint(run / "fits" / "<b>" / "cat2" / name / "000.png", (9, 9, 9))
    paint(run / "fits" / "<b>" / "robot" / "liked" / "000.png", (9, 9, 9))  # its photographs alone
    (run / "fits" / "words" / "settings.json").write_text(json.dumps({"learning_rate": 0.125}))
    makers = {"colour": lambda options: Colour(), **find_metrics(["psnr"]), "redness": lambda options: Words()}
    rate(run, read_subjects(root / "subjects"), makers | {"far": absent})
    return run


def rate(run, subjects, makers, out="scores"):
    score(
        *(run, subjects, makers, run / out, Cache(None)),
        options=lambda name: Options(),
        draws=60,
        workers=1,
        command=["dreamsim-bench", "personalize", "<folder>"],
    )


@pytest.fixture(scope="module")
def tables(made):
    return {file.stem: pd.read_parquet(file) for file in (made / "scores").glob("*.parquet")}


@pytest.fixture(scope="module")
def text(made):
    return write_personalization_report(made).read_text(encoding="utf-8")


class Page(HTMLParser):
    """Rows of all tables as texts, with the classes of rows and cells; what refers to something; elements left open."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.rows, self.classes, self.open, self.wrong = [], [], [], [], [], []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.classes.append([dict(attrs).get("class", "")])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.classes[-1].append(dict(attrs).get("class", ""))
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data.strip()


def part(text, name):
    """Of a page: one section."""
    found = re.search(rf'<h2 id="{name}">.*?(?=<h2 |</body>)', text, re.S)
    return found[0].strip() if found else ""


def shown(values, interval=False):
    low_high = f"{format_number(values.low)} – {format_number(values.high)}" if interval else ""
    return format_number(values.value) + low_high


def test_every_figure_with_its_interval_and_definition_is_on_the_page(tables, text):
    scores = tables["scores"]
    assert set(scores.metric) == {"colour", "psnr", "redness"}
    section = part(text, "scores")
    for name, rows in scores.groupby("method"):
        cells = [cell for row in Page(section).rows if row[0] == name for cell in row[1:]]
        for row in rows.itertuples():
            assert shown(row, interval=True) in cells
    assert set(scores.definition) <= {re.sub(r"\s+", " ", html.unescape(one)) for one in _texts(section)}


def _texts(section):
    return re.findall(r"<dd>(.*?)</dd>", section) + re.findall(r"</strong>: (.*?)</p>", section)


def test_the_best_method_is_marked_and_photographs_stand_apart(tables, text):
    page = Page(part(text, "scores"))
    heads = {cell for row in page.rows if row[0] == "method" for cell in row[1:]}
    assert "colour↓ lower is better" in heads
    assert "psnr↑ higher is better" in heads
    lead = tables["scores"].query("score == 'subject, mean' and metric == 'colour'").set_index("method")["value"]
    at = next(i for i, row in enumerate(page.rows) if row[0] == "method")
    body = dict(zip([row[0] for row in page.rows[at + 1 : at + 5]], page.classes[at + 1 : at + 5], strict=True))
    assert list(body) == [*lead.drop(PHOTOGRAPHS).sort_values().index, PHOTOGRAPHS]
    assert [name for name, classes in body.items() if classes[2] == "first"] == [lead.drop(PHOTOGRAPHS).idxmin()]
    assert body[PHOTOGRAPHS] == ["yardstick", "", "", ""]


def test_ranks_count_methods_only():
    figures = [("a", 2.0, 1.0, 3.0), ("b", 3.0, np.nan, np.nan), (PHOTOGRAPHS, 9.0, 8.0, 10.0), ("c", 3.0, 2.0, 4.0)]
    cells = make_column(("one",), "higher", figures).cells
    assert {name: cell.rank for name, cell in cells.items()} == {"a": 3, "b": 1, PHOTOGRAPHS: 0, "c": 1}
    assert [cells[name].interval for name in "ab"] == ["1.000 – 3.000", ""]


def test_comparisons_say_which_differences_are_sure():
    """b is best of all subjects, but a of those that a and b share."""
    scores = pd.DataFrame(
        [
            {"method": method, "protocol": "ours", "score": "s", "metric": "m", "better": "lower", "value": value}
            for method, value in (("a", 2.0), ("b", 1.0), ("c", 3.0), (PHOTOGRAPHS, 0.0))
        ]
    )
    rows = [("a", "b", 0.5, 0.1, 0.9, 0.04), ("a", "c", 1.0, 0.5, 2.0, 0.0001), ("b", "c", 2.0, np.nan, np.nan, 0.05)]
    table = pd.DataFrame(
        [("ours", "s", "m", a, b, d, low, high, p, p, 4 + i) for i, (a, b, d, low, high, p) in enumerate(rows)],
        columns=list(COMPARISON_COLUMNS),
    )
    (found,) = arrange_comparisons(table, scores)
    assert found.sure == {"a": ["b", "c"]}
    assert (found.sure_pairs, found.pairs, found.subjects) == (2, 3, 4)
    assert found.versus.metrics == ["b", "a", "c"]
    said = {pair: (one.value, one.interval, one.p, bool(one.sure)) for pair, one in found.versus.differences.items()}
    assert said == {
        ("b", "a"): ("-0.500", "-0.900 to -0.100", "p = 0.04", True),
        ("a", "c"): ("1.000", "0.500 to 2.000", "p < 0.001", True),
        ("b", "c"): ("2.000", "one subject", "p = 0.05", False),
    }


def test_all_comparisons_are_on_the_page(tables, text):
    page = "\n".join(cell for row in Page(part(text, "sure")).rows for cell in row)
    assert "No difference between two methods has a p below 0.05" in part(text, "sure")  # of three subjects
    for row in tables["comparisons"].itertuples():
        some = (row.difference, row.low, row.high), (-row.difference, -row.high, -row.low)
        assert any(f"{format_number(d)}{format_number(low)} to {format_number(high)}" in page for d, low, high in some)


def test_the_front_is_what_no_other_beats():
    random = np.random.default_rng(0)
    for n in (1, 2, 5, 30):
        x, y = random.integers(0, 6, (2, n)).astype(float)  # with ties
        beaten = [
            any(x[j] >= x[i] and y[j] >= y[i] and (x[j], y[j]) != (x[i], y[i]) for j in range(n)) for i in range(n)
        ]
        assert find_pareto_front(x, y).tolist() == [not one for one in beaten]


def test_the_chart_has_the_front_and_better_is_to_the_right_and_above():
    points = pd.DataFrame({"method": list("abc"), "x": [1.0, 2.0, 3.0], "y": [1.0, 3.0, 2.0]})
    drawn = [Line(name, i) for i, name in enumerate("abc")]
    by_sign = {}
    for higher in (True, False):
        svg = draw_tradeoff(points, drawn, Axis("x", True), Axis("y", higher, real=0.5))
        assert "real photographs" in svg
        front = re.search(r'<g id="front">\s*<path d="(.*?)"', svg, re.S)[1]
        by_sign[higher] = np.array(re.findall(r"([\d.]+) ([\d.]+)", front), float)
    assert by_sign[True].shape == (2, 2)  # b and c
    assert by_sign[False].shape == (2, 2)  # a and c
    assert by_sign[False][0][1] < by_sign[False][1][1]  # a is drawn above c: less is better
    assert draw_tradeoff(points[:1], drawn, Axis("x", True), Axis("y", True)) == ""
    assert draw_tradeoff(points.assign(x=np.nan), drawn, Axis("x", True), Axis("y", True)) == ""


def test_fidelity_is_against_prompts_or_else_against_diversity(made, text, tmp_path):
    section = part(text, "tradeoff")
    assert section.count("<svg") == 2
    assert "prompt fidelity, redness →" in section
    assert "pays $5 $6" in section  # no formula
    copy = tmp_path / "copy"
    shutil.copytree(made / "scores", copy)
    for name in ("scores", "by_prompt", "comparisons"):
        table = pd.read_parquet(copy / f"{name}.parquet")
        table[table.metric != "redness"].to_parquet(copy / f"{name}.parquet")
    section = part(write_personalization_report(copy).read_text(encoding="utf-8"), "tradeoff")
    assert "No metric of pictures and prompts could be measured" in section
    assert "far: weights not available: no &lt;network&gt;" in section
    assert "diversity, colour →" in section
    assert "diversity, psnr →" in section


def test_breakdowns_are_means_of_the_tables(tables, text):
    section = part(text, "parts")
    rows = Page(section).rows
    by_subject = tables["by_subject"].query("score == 'subject, mean' and metric == 'colour'")
    for name in (*METHODS, PHOTOGRAPHS):
        classes, *kinds, subjects = (row[1:] for row in rows if row[0] == name)
        mine = by_subject[by_subject.method == name].set_index("subject")["value"]
        assert classes == [format_number((mine["cat2"] + mine["cat3"]) / 2), format_number(mine["robot"])]
        assert subjects == [format_number(mine[subject]) for subject in NOUNS]
        expected = []
        for title, metric in (("subject, mean", "colour"), ("prompt", "redness")):
            some = tables["by_prompt"].set_index(["method", "score", "metric", "prompt"])["value"].sort_index()
            some = some.get((name, title, metric), {})
            if len(some):
                expected += [
                    format_number(some["a {} in the snow"]),
                    format_number((some["a red {}"] + some["a blue {}"]) / 2),
                ]
        assert kinds == ([expected] if expected else [])
    assert "cat2 subjects" in rows[0][1]


def decoded(uri):
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))), float).mean((0, 1))


def test_grids_show_the_photographs_and_the_same_seeds_of_every_method(made, text):
    section = part(text, "subjects")
    for name, block in zip(NOUNS, re.findall(r"<details.*?</details>", section, re.S), strict=True):
        assert f"<summary>{name} ({NOUNS[name]})</summary>" in block
        photographs = re.findall(r'<img src="(.*?)" alt="photograph', block)
        for i, uri in enumerate(photographs):
            file = made.parent / "subjects" / name / f"{i}.png"
            np.testing.assert_allclose(decoded(uri), np.asarray(PIL.Image.open(file)).mean((0, 1)), atol=3)
        assert len(photographs) == 2
        painted = re.findall(r'<img src="(\S*?)" alt="([^"]*?): [^"]*?, (?:a [^"]*?), seed (\d)"', block)
        assert {seed for *_, seed in painted} == {"3"}
        slugs = [slug for slug in SLUGS if (name, slug) != ("robot", "a-red")]  # which one method lacks
        found = {}
        for uri, method, _ in painted:
            found.setdefault(html.unescape(method), []).append(decoded(uri))
        assert set(found) == set(METHODS)
        for method, colours in found.items():
            files = [made / "pictures" / method / name / slug / "3.png" for slug in slugs]
            expected = [np.asarray(PIL.Image.open(file)).mean((0, 1)) for file in files]
            np.testing.assert_allclose(colours, expected, atol=3)


def test_best_and_worst_are_the_nearest_and_farthest(tables, text):
    section = part(text, "extremes")
    pictures = tables["pictures"].query("metric == 'colour' and kind != 'class'")
    for method in METHODS:
        block = section.partition(f"<h3>{html.escape(method)}</h3>")[2].partition("<h3>")[0]
        said = re.findall(r">(best|worst)</span> (\S+?)<small>(\S+?),", block)
        by_subject = pictures[pictures.method == method].groupby("subject")["nearest"]
        lowest, highest = by_subject.min().nsmallest(2), by_subject.max().nlargest(2)
        expected = [("best", format_number(value), name) for name, value in lowest.items()]
        assert said == expected + [("worst", format_number(value), name) for name, value in highest.items()]


def test_costs_are_means_with_the_highest_peak(text):
    rows = {row[0]: row[1:5] for row in Page(part(text, "cost")).rows}
    for m, method in enumerate(METHODS, 1):
        assert rows[method] == ["3", f"{30 * m:.1f}", f"{m * 6 / 24:.2f}", f"{m:.2f}"]
    assert "seconds a fit →" in part(text, "cost")
    assert "On a processor" in part(text, "cost")


def test_failures_trees_feedback_agreement_and_settings(tables, text):
    failures = part(text, "failures")
    assert "1 of 2 are not made good" in failures
    assert Page(failures).rows[1:] == [
        ["words", "robot", "fit", "out of <memory>", "done since"],
        ["words", "dog", "fit", "out of <memory>", ""],
    ]
    inside = part(text, "inside")
    assert 'alt="tree of cat2, words"' in inside
    assert "cat2, &lt;b&gt;" in inside
    assert "robot, &lt;b&gt;" not in inside
    assert inside.count("<img") == 3
    (row,) = Page(part(text, "agreement")).rows[1:]
    assert row[0] == "colourpsnr"
    for cell, one in zip(row[1:], tables["correlations"].itertuples(), strict=True):
        assert cell == f"{format_number(one.spearman)}τ {format_number(one.kendall)}; n = {one.n}"
    settings = html.unescape(part(text, "settings"))
    for said in (
        "tiny <model>, revision",
        "DDIM, steps 7",
        "learning_rate 0.125",
        "diffusers 9.9",
        "personalize <folder>",
    ):
        assert said in settings


def test_published_figures_are_marked_as_such_and_ours_are_beside_them(made, tmp_path, text):
    section = part(text, "published")
    rows = {row[0]: row[1:] for row in Page(section).rows}
    assert rows["published: DreamBooth, Stable Diffusion"] == ["0.668", "0.803", "0.305"]
    assert all(html.escape(one.source, quote=False) in section for one in PUBLISHED)
    assert section.count("This run has none of these figures") == 2
    copy = tmp_path / "copy"
    shutil.copytree(made / "scores", copy)
    table = pd.read_parquet(copy / "scores.parquet")
    some = table[(table.score == "subject, mean") & (table.metric == "psnr")]
    ours = some.assign(protocol="DreamBench", score="CLIP-I", metric="clip-i-b32", better="higher")
    pd.concat([table, ours]).to_parquet(copy / "scores.parquet")
    section = part(write_personalization_report(copy).read_text(encoding="utf-8"), "published")
    rows = [row for row in Page(section).rows if row[0] == "this run: words"]
    value = shown(some[some.method == "words"].iloc[0], interval=True)
    assert rows == [["this run: words", "–", value, "–"], ["this run: words", "–", "–", "–", value, "–"]]


def test_the_page_is_whole_and_needs_nothing_else(text):
    page = Page(text)
    assert (page.open, page.wrong) == ([], [])
    assert not {"script", "iframe", "object", "embed", "b"} & set(page.tags)
    assert all(value.startswith(("data:", "#")) for value in page.references)
    assert not re.search(r"url\((?!#)|@import|@font-face", text)
    assert all(text.count(f'id="{target}"') == 1 for target in re.findall(r'<a href="#([\w-]+)"', text))
    charts = "".join(re.findall(r"<svg .*?</svg>", text, re.S))
    assert not re.search(r"#[0-9a-f]{6}\b", charts)


def test_of_the_tables_alone_there_is_a_page_too(made, tmp_path, text):
    """Pictures, costs and photographs are gone."""
    copy = tmp_path / "copy"
    shutil.copytree(made / "scores", copy / "scores")
    settings = json.loads((copy / "scores" / "settings.json").read_text())
    settings["pictures"] = "/nowhere/pictures"
    for subject in settings["subjects"].values():
        subject["photographs"] = ["/nowhere/0.png"]
    (copy / "scores" / "settings.json").write_text(json.dumps(settings))
    alone = write_personalization_report(copy, out=tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert (Page(alone).open, Page(alone).wrong) == ([], [])
    assert "data:image/jpeg" not in alone
    assert "The pictures are not here" in part(alone, "extremes")
    for name in ("subjects", "cost", "inside", "failures"):
        assert part(text, name)
        assert not part(alone, name)
        assert f'"#{name}"' not in alone
    for name in ("scores", "sure", "tradeoff", "parts", "agreement"):
        assert part(alone, name) == part(text, name)
    assert re.findall(r"<small>(.*?)</small>", part(alone, "extremes")) == re.findall(
        r"<small>(.*?)</small>", part(text, "extremes")
    )


def test_pictures_are_found_where_they_were_scored_and_photographs_where_subjects_say(made, tmp_path, text):
    shutil.copytree(made / "scores", tmp_path / "tables")
    subjects = read_subjects(made.parent / "subjects", ["robot"])
    page = write_personalization_report(tmp_path / "tables", subjects).read_text(encoding="utf-8")
    assert page.count('alt="photograph ') == 2
    assert page.count("The photographs are not here.") == 2
    assert part(page, "cost") == part(text, "cost")


def test_one_subject_or_one_method_or_no_metric(made, tmp_path):
    subjects = read_subjects(made.parent / "subjects", ["robot"])
    run = tmp_path / "run"
    for method in METHODS[:2]:
        shutil.copytree(made / "pictures" / method / "robot", run / method / "robot")
    rate(run, subjects, {"colour": lambda options: Colour()})
    page = write_personalization_report(run / "scores").read_text(encoding="utf-8")
    assert "There is one subject" in page
    assert "one subject" in part(page, "sure")
    assert "<svg" in part(page, "tradeoff")
    shutil.rmtree(run / METHODS[0])
    shutil.rmtree(run / "scores")
    rate(run, subjects, {"colour": lambda options: Colour()})
    page = write_personalization_report(run / "scores").read_text(encoding="utf-8")
    assert not part(page, "sure")
    assert not part(page, "tradeoff")
    rate(run, subjects, {"far": absent}, "none")
    page = write_personalization_report(run / "none").read_text(encoding="utf-8")
    assert "No score could be had" in page
    assert (Page(page).open, Page(page).wrong) == ([], [])


def test_what_is_missing_or_damaged_is_one_clear_line(made, tmp_path):
    def fails(error, message):
        with pytest.raises(error, match=message):
            write_personalization_report(tmp_path / "run")
        assert not list(tmp_path.rglob("*.html"))

    fails(FileNotFoundError, "expected a folder that `dreamsim-bench personalize` or `measure` wrote with --out")
    shutil.copytree(made, tmp_path / "run", ignore=shutil.ignore_patterns("*.html"))
    run, scores = tmp_path / "run", tmp_path / "run" / "scores"
    whole = (run / "costs.jsonl").read_text()
    (run / "costs.jsonl").write_text("{\n" + whole)
    fails(ValueError, "costs.jsonl line 1 is not JSON")
    (run / "costs.jsonl").write_text('{"method": "words"}\n' + whole)
    fails(ValueError, "costs.jsonl line 1 lacks count")
    (run / "costs.jsonl").write_text(whole)
    settings = (scores / "settings.json").read_text()
    (scores / "settings.json").write_text("{")
    fails(ValueError, "settings.json is not JSON")
    (scores / "settings.json").write_text("{}")
    fails(ValueError, "settings.json lacks methods, subjects, pictures")
    (scores / "settings.json").write_text(settings)
    table = pd.read_parquet(scores / "correlations.parquet")
    table.drop(columns="kendall").to_parquet(scores / "correlations.parquet")
    fails(ValueError, "correlations.parquet lacks the columns kendall")
    (scores / "correlations.parquet").write_bytes(b"PAR1")
    fails(ValueError, "correlations.parquet is damaged")
    (scores / "correlations.parquet").unlink()
    fails(FileNotFoundError, "no correlations.parquet in")


def test_a_page_is_made_the_same_way_twice(made, text, tmp_path):
    assert write_personalization_report(made, out=tmp_path / "again.html").read_text(encoding="utf-8") == text


@needs_browser
@pytest.mark.usefixtures("text")
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_broken_or_too_wide_in_a_browser(browser, made, width):
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto((made / "report.html").as_uri())
    for one in page.locator("details").all():
        one.evaluate("one => { one.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert said == []


def test_the_example_that_is_shipped_makes_a_page_and_says_what_the_docs_say(tmp_path):
    folder = ROOT / "examples" / "personalization"
    page = write_personalization_report(folder, out=tmp_path / "study.html").read_text(encoding="utf-8")
    assert "decomposition" in page
    text = (ROOT / "docs" / "personalization.md").read_text(encoding="utf-8")
    scores = pd.read_parquet(folder / "scores.parquet").set_index(["score", "metric", "method"])["value"]
    rows = re.findall(r"^\| ([\w -]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]*) *\|", text, re.M)
    assert len(rows) == 9
    lite0 = "timm:tf_efficientnet_lite0#pooled"
    columns = (("subject, mean", "mini"), ("subject, mean", lite0), ("diversity", "mini"), ("prior similarity", "mini"))
    for method, *values in rows:
        for (score_, metric), value in zip(columns, values, strict=True):
            if value:
                assert f"{scores[score_, metric, method]:.3f}" == value
    comparisons_ = pd.read_parquet(folder / "comparisons.parquet")
    assert (comparisons_["p_holm"] >= 0.05).all()


def test_scoring_and_reporting_need_no_diffusion_libraries():
    program = (
        "import sys; import benchmarks.personalization.scoring, benchmarks.report.personalization;"
        "print({'diffusers', 'transformers', 'peft', 'accelerate'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"
