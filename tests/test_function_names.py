"""Functions are named by verbs, private ones too; a quantity that has a name in its field keeps it."""

import ast
import re

import pytest

from tests.places import ROOT
from tests.test_docstrings import PACKAGES, VERBS

# Verbs of functions beside those that begin docstrings.
MORE_VERBS = """
    adapt append apply arrange assemble assign attach attend average blend blur break compress configure confirm
    correlate create crop detect draw enhance enter escape estimate expand fine flip format freeze fuse generate
    hash install invite lay main overlay pad plot randomise re record reencode reflect resume rotate sample settle
    shift shorten shrink sign simulate skip split spread suggest summarize swap sync tabulate tally to transfer
    unfuse unpickle unwrap verify watch
"""
QUANTITIES = {  # what papers and users call by these names
    *("distance", "distance_matrix", "average_precision", "majority_agreement", "vote_agreement", "vote_ceiling"),
    *("calibration_error", "bradley_terry", "hinge"),
}
CLAIMS = re.compile(r"_?(is|are|has|have|holds|can|may|needs|takes|agrees|runs|carries|matches)_?|.*_(is|are|by)_")
KNOWN = {verb.lower() for verb in VERBS.split()} | set(MORE_VERBS.split())


def _functions():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "_":
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.name


def _is_verb(name):
    return name in QUANTITIES or CLAIMS.match(name) or name.lstrip("_").partition("_")[0] in KNOWN


def test_functions_are_verbs():
    nouns = [f"{where} {name}" for where, name in _functions() if not _is_verb(name)]
    assert not nouns, "expected a verb first, or a claim (is_whole); a new verb goes into MORE_VERBS: " + ", ".join(
        nouns
    )


@pytest.mark.parametrize("name", ["rows", "_scores", "metric_key", "by_margin", "new_file", "sheet"])
def test_a_noun_is_found(name):
    assert not _is_verb(name)
