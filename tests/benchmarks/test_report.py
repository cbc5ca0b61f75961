"""The page: what is in the tables is on it, and it needs nothing else."""

import html
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from benchmarks import cli
from benchmarks.human.examples import _choose
from benchmarks.human.run import TABLES, run
from benchmarks.human.sources import Part, Source, read_parts
from benchmarks.metrics.base import Metric, MetricCard, Options
from benchmarks.metrics.registry import find_metrics
from benchmarks.report.charts import Line, draw_bars, draw_scatter, draw_speeds, find_chance
from benchmarks.report.page import write_report
from dreamsim_metric.scale.cache import Cache
from tests import layouts
from tests.browser import browser as browser
from tests.browser import needs_browser
from tests.judged import write_pairs, write_triplets
from tests.judgements.test_tables import table

METRICS = ("mini", "psnr", "gmsd", "ms-ssim")  # the last needs larger pictures


class Page(HTMLParser):
    """Texts of the cells of all tables, and all that refers to something."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.rows = [], [], []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder that both commands wrote to, of data that is gone since."""
    root = tmp_path_factory.mktemp("report")
    judged = write_triplets(root / "judged <b>", splits=("test",))
    write_pairs(judged, split="test")
    rated, odd, matrix = (layouts.LAYOUTS[name](root / name) for name in ("ratings", "things", "matrix"))
    for i in range(2):
        layouts.picture(root / f"scenes/{i}.png", i, (64, 64))
        layouts.picture(root / f"scenes/masks/{i}.png", i, (64, 64))
    given = [f"--data={folder}" for folder in (judged, rated, odd, matrix)]
    out = root / "out"
    cache = ["--cache", str(root / "cache.sqlite")]
    assert cli.main(["human", *given, "--metrics", *METRICS, "--out", str(out), "--draws", "40", *cache]) == 0
    changes = ["sensitivity", "--pictures", str(root / "scenes"), "--metrics", "psnr", "gmsd"]
    assert cli.main([*changes, "--out", str(out)]) == 0
    for folder in (judged, rated, odd, matrix, root / "scenes"):
        shutil.rmtree(folder)
    return out


@pytest.fixture(scope="module")
def text(results):
    return write_report(results).read_text(encoding="utf-8")


def test_every_figure_with_its_interval_is_on_the_page(results, text):
    cells = {row[0].strip(): row[1:] for row in reversed(Page(text).rows) if row}  # the first of each name
    scores = pd.read_parquet(results / "scores.parquet")
    assert set(scores.metric) == set(METRICS) - {"ms-ssim"}
    assert set(scores.kind) == {"2AFC", "JND", "ratings", "odd-one-out", "RDM"}
    for row in scores.itertuples():
        digits = 1 if row.score.endswith("%") else 3
        low, high = (row.low, row.high) if np.isnan(row.ref_low) else (row.ref_low, row.ref_high)
        shown = f"{row.rank}\N{EN SPACE}{row.value:.{digits}f}{low:.{digits}f} – {high:.{digits}f}"
        assert shown in cells[row.metric]
    people = scores[scores.score == "2AFC, majority, %"].people.iloc[0]
    assert f"{people:.1f}" in cells["people, each among the majority"]


def test_metrics_without_figures_say_why(text):
    assert "it cannot compare such pictures" in html.unescape(text)
    rows = [row for row in Page(text).rows if row and row[0].strip() == "ms-ssim"]
    assert len(rows) == 2  # of figures, and of metrics


def test_the_page_needs_nothing_else(text):
    page = Page(text)
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    assert all(value.startswith(("data:", "#")) for value in page.references)
    assert not re.search(r"url\((?!#)|@import|@font-face", text)
    assert len(text) < 3e6
    assert "judged <b>" not in text  # what the data is called is text, not HTML
    assert "judged &lt;b&gt;" in text


def test_charts_have_the_page_s_colours_only(text):
    charts = re.findall(r"<svg .*?</svg>", text, re.S)
    assert len(charts) > 20
    assert not re.search(r"#[0-9a-f]{6}\b", "".join(charts))
    assert {"var(--ink)", "var(--series-0)", "var(--series-1)"} <= set(re.findall(r"var\(--[\w-]+\)", "".join(charts)))


def test_comparisons_are_shown_as_they_are_tested(results, text):
    comparisons = pd.read_parquet(results / "comparisons.parquet")
    shown = "\n".join(cell for row in Page(text).rows for cell in row)
    for row in comparisons.itertuples():
        digits = 1 if row.score.endswith("%") else 3
        p = "p < 0.001" if row.p_holm < 0.001 else f"p = {row.p_holm:.2g}"
        assert f"{row.difference:.{digits}f}{row.low:.{digits}f} to {row.high:.{digits}f}{p}" in shown


def test_hardest_and_disputed_by_hand():
    """Three triplets that all people choose the right of; three metrics, of which so many are with them."""
    triplets = table(["a b c", "d e f", "g h i", "a e c"], [1.0, 1.0, 1.0, 1.0])
    far, near = np.array([0.2, 0.1]), np.array([0.1, 0.2])  # with people, against them
    part = Part("set", "test", triplets, Source("", "", lambda root: [], lambda root: True, (), ""))
    by_metric = {
        "one": np.stack([near, near, far, near]),
        "two": np.stack([near, far, far, near]),
        "three": np.stack([near, far, far, near]),
    }
    # All are against people on rows 0 and 3, whose reference is one; one of three on row 1; none on row 2.
    assert _choose(part, by_metric) == {"hardest": [0, 1], "disputed": []}
    triplets = table([f"r{i} a b" for i in range(9)], [1.0] * 9)
    part = Part("set", "test", triplets, part.source)
    by_metric = {"one": np.stack([near] * 9), "two": np.stack([near] * 7 + [far] * 2)}
    assert _choose(part, by_metric) == {"hardest": [0, 1, 2, 3, 4, 5], "disputed": [7, 8]}
    assert _choose(part, {"one": np.stack([near] * 9)})["disputed"] == []
    assert _choose(part, {}) == {}


def test_each_example_shows_its_votes_and_every_answer(results, text):
    examples = pd.read_parquet(results / "examples.parquet")
    answers = pd.read_parquet(results / "answers.parquet").set_index(["kind", "id", "metric"])
    questions = pd.read_parquet(results / "questions.parquet").set_index(["kind", "id"])
    cards = re.findall(r"<article.*?</article>", text, re.S)
    assert len(cards) == len(examples.groupby(["data", "split", "kind", "id"]))
    first = examples[(examples.kind == "2AFC") & (examples.why == "hardest")].iloc[0]
    asked = questions.loc[("2AFC", first.id)]
    count = round(asked.target * asked.votes)
    assert f"A: {asked.votes - count:g} of 5 people" in cards[0]
    assert f"B: {count} of 5 people" in cards[0]
    for metric, sign in (("mini", 1), ("psnr", -1), ("gmsd", 1)):
        d = answers.loc[("2AFC", first.id, metric)]
        assert f"A {sign * d.d0:.3g}, B {sign * d.d1:.3g}" in cards[0]
        with_people = (d.d1 < d.d0) == (asked.target > 0.5)
        assert re.search(rf"{'✓' if with_people else '✗'}</span> <strong>{metric}</strong>", cards[0])
    assert cards[0].count("where it differs to mini") == 2
    assert any("the odd one is picture" in card for card in cards)
    assert any("people: more different than" in card for card in cards)


def test_thumbnails_are_the_pictures(tmp_path):
    judged = write_triplets(tmp_path / "judged", splits=("test",))
    parts = read_parts(str(judged))
    makers = find_metrics(["psnr"])
    run(makers, parts, tmp_path / "out", Cache(None), options=lambda name: Options(), draws=2)
    examples = pd.read_parquet(tmp_path / "out" / "examples.parquet")
    rows = {row: i for i, row in enumerate(parts[0].table.ids)}
    for row in examples.itertuples():
        path = parts[0].table.pictures[parts[0].table.index[rows[row.id], row.number]]
        (tmp_path / "thumbnail.jpg").write_bytes(row.picture)
        own, small = (
            np.asarray(PIL.Image.open(file).convert("L"), float) for file in (path, tmp_path / "thumbnail.jpg")
        )
        assert own.shape == small.shape
        assert np.abs(own - small).mean() < 10
    assert examples["map"].isna().all()  # psnr tells no places


class Fair(Metric):
    card = MetricCard("fair", "distance", (0, 1), "native", "none")

    def compare(self, a, b):
        return (a[0] - b[0]).abs().mean((1, 2, 3))


def test_parts_of_a_part_repeat_none_of_its_charts(tmp_path):
    """Of NIGHTS' halves and BAPPS' kinds of distortion there are figures only."""
    judged = write_triplets(tmp_path / "judged", splits=("test",))
    rows = (judged / "data.csv").read_text().splitlines()
    subsets = [",subset", *(f",{'even' if i % 2 else 'odd'}" for i in range(len(rows) - 1))]
    (judged / "data.csv").write_text("\n".join(map("".join, zip(rows, subsets, strict=True))))
    parts = read_parts(str(judged), ["test", "test_odd"])
    makers = {"fair": lambda options: Fair(), **find_metrics(["psnr"])}
    run(makers, parts, tmp_path / "out", Cache(None), options=lambda name: Options(), draws=2)
    _, whole, part = write_report(tmp_path / "out").read_text(encoding="utf-8").split('<h2 id="part-')
    assert "<article" in whole
    assert "against people" in whole
    assert part.count("<figure") == 2  # bars
    assert "<article" not in part


def test_only_sensitivity_makes_a_page(results, tmp_path):
    for file in results.glob("sensitivity*"):
        shutil.copy(file, tmp_path)
    text = write_report(tmp_path, tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert "What they notice" in text
    assert '<h2 id="figures"' not in text
    assert "object swap" in text
    assert text.count("data:image/jpeg") > 60


def test_no_metric_at_all_is_a_page_too(tmp_path):
    def absent(options):
        raise ConnectionError("no network")

    judged = write_triplets(tmp_path / "judged", splits=("test",))
    run({"far": absent}, read_parts(str(judged)), tmp_path / "out", Cache(None), options=lambda name: Options())
    text = write_report(tmp_path / "out").read_text(encoding="utf-8")
    assert "weights not available: no network" in text


def test_what_is_missing_or_damaged_is_one_clear_line(results, tmp_path, capsys):
    def fails(folder, message):
        assert cli.main(["report", str(folder)]) == 1
        assert message in capsys.readouterr().err
        assert not list(folder.glob("*.html"))

    fails(tmp_path, "expected a folder that `dreamsim-bench human`, `sensitivity` or `speed` wrote with --out")
    copy = tmp_path / "copy"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("*.html"))
    (copy / "answers.parquet").write_bytes(b"PAR1")
    fails(copy, "answers.parquet is damaged")
    for name in TABLES:  # of an earlier version, which had other names
        earlier = tmp_path / "earlier"
        shutil.copytree(results, earlier, ignore=shutil.ignore_patterns("*.html"), dirs_exist_ok=True)
        table = pd.read_parquet(results / f"{name}.parquet")
        for column in table.columns[[0, -1]]:
            table.drop(columns=column).to_parquet(earlier / f"{name}.parquet")
            fails(earlier, f"{name}.parquet lacks the columns {column}, perhaps as one of another version")
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("*.html"), dirs_exist_ok=True)
    settings = json.loads((copy / "settings.json").read_text())
    for key in settings:
        (copy / "settings.json").write_text(json.dumps({name: settings[name] for name in settings if name != key}))
        fails(copy, f"settings.json lacks {key}, perhaps as one of another version; run again into that folder")
    for key in ("title", "judgements", "pictures", "split"):
        parts = [{name: part[name] for name in part if name != key} for part in settings["data"]]
        (copy / "settings.json").write_text(json.dumps(settings | {"data": parts}))
        fails(copy, f"settings.json has parts without {key}, perhaps as one of another version")
    (copy / "settings.json").write_text(json.dumps(settings))
    (copy / "answers.parquet").unlink()
    fails(copy, "no answers.parquet in")


def test_a_disk_that_is_full_leaves_the_page_before(results, tmp_path, capsys, monkeypatch):
    page = tmp_path / "page.html"
    page.write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dreamsim_metric.files.write.os.fsync", full)
    assert cli.main(["report", str(results), "--out", str(page)]) == 1
    assert "make room" in capsys.readouterr().err
    assert page.read_text() == "before"
    assert not list(tmp_path.glob(".*"))


def test_a_page_is_made_the_same_way_twice(results, text, tmp_path):
    assert write_report(results, tmp_path / "again.html").read_text(encoding="utf-8") == text


def test_charts_of_next_to_nothing():
    """One metric, one judgement, no time, figures below chance."""
    line = Line("one", 11)
    row = {"metric": "one", "value": 12.0, "from": 0.0, "to": np.nan, "people": np.nan, "others": np.nan}
    rows = pd.DataFrame([row | {"ceiling": 100.0, "seconds": np.nan, "parameters": 0}])
    assert "at most" in draw_bars(rows, [line], "2AFC, votes, %")
    assert "one" in draw_scatter(np.zeros(1), np.ones(1), line, "x", "y")
    assert draw_speeds(rows, [line], "2AFC, votes, %") == ""
    assert [find_chance(score) for score in ("2AFC, votes, %", "odd-one-out, %", "SROCC")] == [
        50,
        pytest.approx(33.33, 1e-3),
        0,
    ]


@needs_browser
@pytest.mark.usefixtures("text")
class TestInABrowser:
    def opened(self, browser, results, width=1280, **options):
        page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
        page.goto((results / "report.html").as_uri())
        assert said == []
        return page

    @pytest.mark.parametrize("width", [1280, 390])
    def test_nothing_is_broken_or_too_wide(self, browser, results, width):
        page = self.opened(browser, results, width)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        charts = page.evaluate(
            "[...document.querySelectorAll('figure > svg')].map(svg => svg.getBoundingClientRect().width)"
        )
        assert len(charts) > 20
        assert min(charts) > 150
        pixels = PIL.Image.open(io.BytesIO(page.screenshot()))
        assert len(pixels.getcolors(1 << 24)) > 100

    def test_light_and_dark_by_the_system_and_by_hand(self, browser, results):
        def paper(page):
            return sum(
                map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3])
            )

        light, dark = (self.opened(browser, results, color_scheme=scheme) for scheme in ("light", "dark"))
        assert paper(light) > 700
        assert paper(dark) < 100
        ink = "getComputedStyle(document.querySelector('figure > svg text')).fill"
        assert light.evaluate(ink) != dark.evaluate(ink)
        for page, switched in ((light, lambda value: value < 100), (dark, lambda value: value > 700)):
            page.get_by_label("light / dark").check()
            assert switched(paper(page))

    def test_comparisons_open_and_print(self, browser, results):
        page = self.opened(browser, results)
        cell = page.locator("details td.sure, details td").first
        assert not cell.is_visible()
        page.locator("summary").first.click()
        assert cell.is_visible()
        assert page.pdf().startswith(b"%PDF")
