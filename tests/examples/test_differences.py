"""The page "Why your number differs" says what its program computes."""

from importlib.util import find_spec

import pytest

from examples.differences import __main__ as program
from examples.differences.page import SUBJECTS, format_value, make_line, read_figures
from examples.differences.rows import Row, measure, name_version
from tests.places import ROOT

PAGE = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
ROWS = [row for rows in SUBJECTS.values() for row in rows]


@pytest.mark.filterwarnings("ignore")  # of the libraries, as in the program
@pytest.mark.parametrize("row", [pytest.param(row, id=row.__name__) for row in ROWS])
def test_figures_are_those_of_the_page(row):
    row = row()
    values, missing = measure(row)
    printed = read_figures(PAGE, row)
    assert len(printed) == len(row.tools)
    assert not [module for module in missing.values() if find_spec(module)]
    for tool, value in values.items():
        figure = printed.get(name_version(tool))  # None: by another version than the page's
        if figure is not None and isinstance(value, str):
            assert figure == value, tool
        elif figure is not None:
            assert float(figure) == pytest.approx(value, rel=1e-3, abs=row.tolerance), tool


def test_a_line_names_what_is_not_installed():
    def by_nobody():
        import a_package_of_nobody  # noqa: F401

    row = Row("Ones", {"numpy: sum": lambda: 1.0, "nobody: sum": by_nobody}, "why", "ours")
    line, missing = make_line(row)
    assert missing == {"nobody: sum": "a_package_of_nobody"}
    assert line == (
        f"| Ones | {name_version('numpy: sum')} **1**<br>nobody: sum: not run, a_package_of_nobody is not installed "
        "| why | ours |"
    )
    assert read_figures(line, row) == {name_version("numpy: sum"): "1"}


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (0.88656, "0.8866"), (-32768.0, "-32768"), ("NaN", "NaN")])
def test_values_have_four_digits(value, text):
    assert format_value(value) == text


def test_the_program_writes_the_page_and_names_what_it_skips(tmp_path, monkeypatch, capsys):
    def by_nobody():
        import a_package_of_nobody  # noqa: F401

    rows = [lambda: Row("Ones", {"numpy: sum": lambda: 1.0, "nobody: sum": by_nobody}, "why", "ours")]
    monkeypatch.setattr("examples.differences.page.SUBJECTS", {"Sums": rows})
    program.main(["--out", str(tmp_path / "page.md")])
    assert "skipped: nobody: sum: a_package_of_nobody is not installed" in capsys.readouterr().err
    program.main([])
    assert capsys.readouterr().out.strip() == (tmp_path / "page.md").read_text(encoding="utf-8").strip()
    assert "## Sums\n| what | by whom | why | here |" in (tmp_path / "page.md").read_text(encoding="utf-8")
