"""The words of docstrings, as far as a program can tell: verbs, phrases that stand alone, every argument described."""

import ast
import re

import pytest

from tests.places import ROOT

PACKAGES = ["dreamsim_metric", "data_tools", "benchmarks"]
FRAGMENT = re.compile(r"(of|as|see|at|by|in|on|with|from|to|for|that|which|those|than|if|up|also)\b", re.I)
LEAST_WORDS = 2
ENTRY = re.compile(r"^ {4}((?:`?\*{0,2}\w+`?)(?:, `?\*{0,2}\w+`?)*): (.*)$")
VERBS = """
    Add Allow Answer Ask Average Be Begin Bind Bring Build Calibrate Call Change Check Choose Clip Close Collect
    Combine Compare Compile Complete Compose Compute Connect Convert Copy Correct Count Cut Decode Describe
    Digest Divide Do Download Draw Drop Embed Encode End Evaluate Export Extract Fetch Fill Filter Find Finish
    Fit Fold Forget Form Gather Get Give Go Group Hide Hold Import Iterate Join Judge Keep Lay Learn Lease Leave
    Let List Load Lock Look Lower Make Map Mark Mask Measure Merge Mirror Move Multiply Name Normalise Note Open
    Order Paint Pair Parse Pass Pick Place Plan Pool Predict Prepare Print Probe Produce Project Push Put Raise
    Rank Reach Read Reduce Register Release Remove Rename Repeat Replace Report Resample Reset Resize Resolve
    Restore Return Round Run Save Say Scale Score Search See Select Send Serve Set Share Show Silence Sort Split
    Stack Start State Stay Stop Store Sum Switch Take Tell Time Train Trace Translate Try Tune Turn Undo Update
    Upload Use Validate Wait Walk Weigh Write Yield
"""


def _documented():
    """Public modules, classes, functions and methods, and where each is."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ast.parse(path.read_text(encoding="utf-8"))
            where = str(path.relative_to(ROOT))
            yield where, module
            for node in module.body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                    if _is_overload(node):
                        continue
                    yield f"{where}:{node.lineno} {node.name}", node
                    for inner in node.body if isinstance(node, ast.ClassDef) else ():
                        if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                            if node.bases and ast.get_docstring(inner) is None:  # what it does is said in a base
                                continue
                            yield f"{where}:{inner.lineno} {node.name}.{inner.name}", inner


def _is_property(node):
    return any(
        isinstance(mark, ast.Name) and mark.id in ("property", "cached_property") for mark in node.decorator_list
    )


def _is_overload(node):
    return any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list)


def _entries(docstring):
    """Names and text of each argument or attribute; text that goes on is joined."""
    found, inside = [], False
    for line in docstring.splitlines():
        if re.fullmatch(r"(Args|Attributes):", line):
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        elif inside and (match := ENTRY.match(line)):
            found.append([match[1], match[2]])
        elif inside and found and line.strip():
            found[-1][1] += " " + line.strip()
    return found


def _parameters(node):
    given = node.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in (*names, given.vararg and given.vararg.arg) if name and name not in ("self", "cls")]


def _problems(node):
    docstring = ast.get_docstring(node)
    if docstring is None:
        yield "it has no docstring"
        return
    summary = docstring.partition("\n\n")[0]
    first = re.split(r"[\s,:]", summary, maxsplit=1)[0]
    if isinstance(node, ast.FunctionDef) and not _is_property(node):
        if not re.search(rf"\b{re.escape(first)}\b", VERBS):
            yield f"its summary begins with {first!r}; expected a verb (a new one goes into VERBS): {summary!r}"
    elif not re.match(r"[A-Z0-9`]|dreamsim_metric:", summary):
        yield f"its summary is {summary!r}; expected a phrase"
    if not re.search(r"[.:?]$", summary):
        yield f"its summary does not end: {summary!r}"
    if "of one." in docstring:
        yield "'of one.' says nothing to who sees this line alone"
    for names, text in _entries(docstring):
        if FRAGMENT.match(text) or len(text.split()) < LEAST_WORDS:
            yield f"{names} is {text!r}; expected a phrase that stands alone"
    if isinstance(node, ast.FunctionDef) and "Args:" in docstring:
        described = {name for names, _ in _entries(docstring) for name in re.findall(r"\w+", names)}
        if missing := [name for name in _parameters(node) if name not in described]:
            yield f"it says nothing of {', '.join(missing)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_stand_alone(package):
    problems = [
        f"{where}: {problem}"
        for where, node in _documented()
        if where.startswith(f"{package}/")
        for problem in _problems(node)
    ]
    assert not problems, "\n" + "\n".join(problems)


BAD = {
    "no verb": ('def f():\n    """The bytes of a file."""', "begins with 'The'"),
    "a fragment": ('def f(x):\n    """Read.\n\n    Args:\n        x: of each one of them.\n    """', "x is 'of each"),
    "a word": ('def f(x):\n    """Read.\n\n    Args:\n        x: which.\n    """', "x is 'which.'"),
    "an argument left out": ('def f(x, *, y):\n    """Read.\n\n    Args:\n        x: a file.\n    """', "nothing of y"),
    "nothing": ("def f():\n    pass", "no docstring"),
    "no end": ('class A:\n    """What it is"""', "does not end"),
    "of one": ('def f():\n    """Read `files` of one."""', "'of one.'"),
}


@pytest.mark.parametrize(("code", "message"), BAD.values(), ids=BAD)
def test_what_does_not_stand_alone_is_found(code, message):
    assert message in " ".join(_problems(ast.parse(code).body[0]))
