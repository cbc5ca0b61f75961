"""What all parts share is written once: copies of it, which would come to differ, are found here."""

import ast
import re
from collections import Counter

import pytest

from tests.places import ROOT

FILES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in ("dreamsim_metric", "data_tools", "benchmarks", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
}

IDIOMS = [  # the file that has it, what it looks like, and a copy as it once stood elsewhere
    ("messages.py", r"get_close_matches", "near = difflib.get_close_matches(name, known, n=2)"),
    ("messages.py", r"did you mean \{", "f\"did you mean {' or '.join(near)}? \""),
    ("messages.py", r"and \{[^}]*\} more", 'f"; and {len(problems) - _SAID} more"'),
    ("messages.py", r"\.join\(str\(error\)\.split\(\)\)", '" ".join(str(error).split())'),
    ("bounds.py", r"got [^;\"]*; expected (\d|\{\w+\}) or more\"", 'f"got --top {arguments.top}; expected 1 or more"'),
    ("files/table.py", r"csv\.(Dict)?[wW]riter\(", 'csv.DictWriter(text, list(rows[0]), lineterminator="\\n")'),
    ("files/write.py", r"mkdtemp\(", 'Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))'),
    ("files/write.py", r"errno\.EDQUOT", "_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)"),
    ("files/json_file.py", r"indent=2.*encode\(\)", '(json.dumps(facts, indent=2) + "\\n").encode()'),
    ("files/json_file.py", r"is not JSON \(", 'f"{file} is not JSON ({error}); embed again"'),
    ("files/digest.py", r"file_digest\(|sha256\(\w+\.read_bytes\(", "hashlib.sha256(file.read_bytes()).hexdigest()"),
    ("images/encoding.py", r"\.save\(\w+, (kind|\"[A-Z]+\")", 'picture.save(data, "PNG")'),
    (
        "images/device.py",
        r"\"cuda\" if torch\.cuda\.is_av",
        'device or ("cuda" if torch.cuda.is_available() else "cpu")',
    ),
    ("images/ahead.py", r"sched_getaffinity\(0\)", "cores = len(os.sched_getaffinity(0))"),
    ("judgements/resampling.py", r"quantile\(.*level|percentile\(\w+, \[2\.5", "np.percentile(kept, [2.5, 97.5])"),
    (
        "judgements/resampling.py",
        r"integers\(0, (?P<n>n|len\(\w+\)|self\._count), .*(?P=n)",
        "drawn = random.integers(0, len(sums), (len(some), len(sums)))",
    ),
]


@pytest.mark.parametrize(("home", "idiom", "copy"), IDIOMS)
def test_an_idiom_is_in_its_file_only(home, idiom, copy):
    assert re.search(idiom, copy), "the pattern would miss a copy"
    assert {file for file, text in FILES.items() if re.search(idiom, text)} <= {f"dreamsim_metric/{home}"}


SHARED = (
    *("list_briefly", "suggest", "say_known", "say_error", "say_error_with_kind", "check_least"),
    *("write_file", "write_files", "create_file", "create_folder", "check_space"),
    *("format_csv", "write_csv", "format_json", "write_json", "parse_json", "read_json", "digest_file"),
    *("encode", "choose_default_device", "count_cores", "find_pictures", "Resamples", "find_interval"),
    *("make_thumbnail", "find_version"),
)


def test_what_is_shared_has_one_definition():
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    names = Counter(node.name for text in FILES.values() for node in ast.parse(text).body if isinstance(node, kinds))
    assert {name: names[name] for name in SHARED} == dict.fromkeys(SHARED, 1)
