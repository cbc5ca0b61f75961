"""Public faces: what users may import, where it is documented, and what importing it costs."""

import ast
import inspect
import re
from importlib import import_module
from itertools import pairwise

import pytest

from tests.places import ROOT

ROOMS = ["images", "judgements", "scale", "evaluation", "training", "files", "weights"]
FACES = ["dreamsim_metric", *(f"dreamsim_metric.{room}" for room in ROOMS)]
MODULES = [f"dreamsim_metric.{name}" for name in ("difference", "distances", "export", "torchmetrics")]
INSIDE = ["networks", "commands"]


def _tree(module):
    place = ROOT / module.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _all(module):
    """A module's `__all__`, without importing torch for it while tests are collected."""
    if module in FACES:
        return [name for name in import_module(module).__all__ if name != "__version__"]
    assigned = (node for node in _tree(module).body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__")
    return ast.literal_eval(next(assigned).value)


PUBLIC = [(face, name) for face in (*FACES, *MODULES) for name in _all(face)]


@pytest.mark.parametrize("face", FACES)
def test_type_checkers_see_the_names_that_load_on_use(face):
    imports = [node for node in ast.walk(_tree(face)) if isinstance(node, ast.ImportFrom) and node.level == 0]
    seen = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in imports
        for alias in node.names
        if alias.asname is not None
    }
    assert seen.keys() == set(import_module(face).__all__)
    for name, place in seen.items():
        module, _, defined = place.rpartition(".")
        assert defined == name
        assert getattr(import_module(face), name) is getattr(import_module(module), name)


def test_no_name_is_a_module_of_its_room():
    """Importing a module binds its name on the package, and would hide a function."""
    for face in FACES:
        modules = {path.stem for path in (ROOT / face.replace(".", "/")).glob("*.py")}
        modules |= {path.parent.name for path in (ROOT / face.replace(".", "/")).glob("*/__init__.py")}
        assert not modules & set(import_module(face).__all__), face


def test_a_name_is_public_in_one_place():
    names = [name for _, name in PUBLIC]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("room", [*ROOMS, *INSIDE])
def test_rooms_say_what_is_inside(room):
    assert "may change" in import_module(f"dreamsim_metric.{room}").__doc__


def test_rooms_of_the_benchmarks_are_inside():
    for file in (ROOT / "benchmarks").rglob("__init__.py"):
        assert "may change" in ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), file


def test_all_rooms_are_listed():
    assert {path.parent.name for path in (ROOT / "dreamsim_metric").glob("*/__init__.py")} == {*ROOMS, *INSIDE}


def test_importing_faces_is_cheap(fresh_python):
    loaded = fresh_python(f"import sys, {', '.join(FACES)}; print(*sys.modules.keys() & {{'torch', 'numpy', 'PIL'}})")
    assert loaded == ""


@pytest.mark.parametrize(("face", "name"), PUBLIC, ids=[f"{face}.{name}" for face, name in PUBLIC])
def test_public_names_have_examples_and_arguments_described(face, name):
    value = getattr(import_module(face), name)
    if _has_docstring(face, name):
        docstring = inspect.getdoc(value)
        assert ">>>" in docstring
        for argument in inspect.signature(value).parameters if inspect.isfunction(value) else ():
            assert re.search(rf"^    (\w+, )*{argument}(, \w+)*: ", docstring, re.M), f"it says nothing of {argument}"
    else:  # a type: its text is behind it in the source
        assert name in _described(face, name)


def test_the_reference_has_all_public_names():
    """`automodule` takes what `__all__` has, but for types, which are named one by one."""
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert re.findall(r"automodule:: (\S+)", text) == [*FACES, *MODULES]
    types = [f"{face}.{name}" for face, name in PUBLIC if face in FACES and not _has_docstring(face, name)]
    assert sorted(re.findall(r"autodata:: (\S+)", text)) == sorted(types)


def _has_docstring(face, name):
    value = getattr(import_module(face), name)
    return inspect.isclass(value) or inspect.isfunction(value)


def _described(face, name):
    """Names of constants and types that a text follows, in the module that defines this one."""
    imports = (node for node in ast.walk(_tree(face)) if isinstance(node, ast.ImportFrom))
    homes = [node.module for node in imports if name in [alias.name for alias in node.names]]
    body = _tree(homes[0] if homes else face).body
    return {
        node.targets[0].id
        for node, after in pairwise(body)
        if isinstance(node, ast.Assign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }
