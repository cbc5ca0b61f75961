"""Whatever a file defines is used: by the packages, or by their users. What only tests use would rot unseen."""

import ast

import pytest

from tests.places import ROOT

PACKAGES = ("dreamsim_metric", "data_tools", "benchmarks")
TREES = {
    file: ast.parse(file.read_text(encoding="utf-8"))
    for package in (*PACKAGES, "examples")
    for file in sorted((ROOT / package).rglob("*.py"))
}
FILES = [file for file in TREES if file.relative_to(ROOT).parts[0] in PACKAGES and file.name != "__init__.py"]


def module_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def nodes(kind):
    return [(file, node) for file, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, kind)]


IMPORTED = {(node.module, alias.name) for _, node in nodes(ast.ImportFrom) for alias in node.names}  # by faces too
ATTRIBUTES = {node.attr for _, node in nodes(ast.Attribute)} | {"COMMANDS", "METRICS", "SOURCES"}


def defined(tree):
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))


def in_all(tree):
    values = [node.value for node in tree.body if isinstance(node, ast.Assign) and "__all__" in ast.unparse(node)]
    return {part.value for value in values for part in ast.walk(value) if isinstance(part, ast.Constant)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_name_is_used_by_more_than_tests(file):
    tree = TREES[file]
    here = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    known = here | ATTRIBUTES | in_all(tree) | {"_"}
    unused = [name for name in defined(tree) if name not in known and not name.startswith("__")]
    assert [name for name in unused if (module_of(file), name) not in IMPORTED] == []
