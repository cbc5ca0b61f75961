"""The house: its map in CONTRIBUTING.md is the code's, imports lead down, and nothing goes round in a circle."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.places import ROOT

PACKAGES = ("dreamsim_metric", "data_tools", "benchmarks")  # each may import those before it
TOO_LONG = 350


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def python_files(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if "build" not in path.parts]


MODULES = {module_of(path): path for path in python_files(*PACKAGES)}


def imported(path):
    """Modules of ours that a file imports, wherever in the file, and by whatever form."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in names]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in (*PACKAGES, "tests", "examples"))


GRAPH = {module: set(imported(path)) for module, path in MODULES.items()}


def read_map():
    """Floor by package and room, from the tables of CONTRIBUTING.md."""
    floors, package = {}, ""
    for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"#+ .*`(\w+)/`", line):
            package = heading[1]
        elif row := re.match(r"\| (\d+) \| (.*?) \|", line):
            floors |= {(package, room): int(row[1]) for room in re.findall(r"`([\w/.]+)`", row[2])}
    return floors


FLOORS = read_map()


def room_of(module):
    """The first file or folder of a package that a module is in."""
    package, *rest = module.split(".")
    if not rest:
        return package, "__init__.py"
    inside = len(rest) > 1 or MODULES[module].name == "__init__.py"
    return package, rest[0] + ("/" if inside else ".py")


def test_the_map_has_every_room_and_no_other():
    assert {room_of(module) for module in MODULES} - {(package, "__init__.py") for package in PACKAGES} == set(FLOORS)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_lead_to_lower_floors_only(package):
    wrong = [
        f"{module} ({FLOORS[here]}) imports {other} ({FLOORS[there]})"
        for module in MODULES
        for other in GRAPH[module]
        if (here := room_of(module))[0] == package == other.partition(".")[0]
        and here in FLOORS
        and (there := room_of(other)) in FLOORS
        and here != there
        and FLOORS[there] >= FLOORS[here]
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_those_before_them(package):
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    wrong = [
        f"{m} imports {o}" for m in MODULES for o in GRAPH[m] if m.startswith(package) and not o.startswith(allowed)
    ]
    assert not wrong


def test_no_files_import_each_other_in_a_circle():
    faces = {module for module, path in MODULES.items() if path.name == "__init__.py"}  # they only hand names on
    try:
        TopologicalSorter({module: others - faces for module, others in GRAPH.items() if module not in faces}).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_nothing_inside_goes_through_the_faces():
    """A name is imported from the file that defines it; the faces of `dreamsim_metric` are for its users."""
    faces = {m for m, path in MODULES.items() if path.name == "__init__.py" and m.startswith("dreamsim_metric.")}
    wrong = [f"{module} imports {other}" for module, others in GRAPH.items() for other in others & faces]
    assert not wrong


def test_files_are_short():
    long = [
        f"{path.relative_to(ROOT)} has {lines} lines"
        for path in python_files(*PACKAGES, "examples")
        if (lines := len(Path(path).read_text(encoding="utf-8").splitlines())) > TOO_LONG
    ]
    assert not long
