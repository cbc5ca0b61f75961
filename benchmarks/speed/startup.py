"""Each in a process of its own: an import, all up to a first distance, and batches once that is behind."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.speed.measure import Contest, Sample, Subject
from dreamsim_metric import load

# CPU seconds are of the code alone, without Python's own start; memory is what the process had at most.
_WATCHED = """
import json, sys, time
{before}
wall, cpu = time.perf_counter(), time.process_time()
{code}
taken = time.perf_counter() - wall, time.process_time() - cpu
try:  # not ru_maxrss, which begins with what the parent process held
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
except OSError:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([*taken, peak]))
"""
_PICTURES = "import torch\na, b = torch.rand(2, {}, 3, 224, 224)\n"
_DISTANCE = "compare(a, b).tolist()"


def list_first_contests(model: str, release: Path, home: Path, *, quick: bool = False) -> Iterator[Contest]:
    """Make the contests of imports and of first distances.

    Args:
        model: name of a released type.
        release: folder of its release.
        home: folder under which the model is installed as ours.
        quick: whether imports of ours are all that is timed.
    """
    packages = ("dreamsim_metric",) if quick else ("dreamsim", "dreamsim_metric", "lpips", "torch")
    imports = [_make_subject(f"import {name}", name, f"import {name}") for name in packages]
    yield Contest("startup", imports, "import")
    if quick:
        return
    firsts = [
        _make_subject("released", "dreamsim", _write_first(_write_released(model, release)), model),
        _make_subject("ours", "dreamsim_metric", _write_first(_write_ours(_install(model, release, home))), model),
        _make_subject("ours, mini", "dreamsim_metric", _write_first(_write_ours("mini")), "mini"),
        _make_subject(
            "LPIPS-Alex", "lpips", _write_first("import lpips\ncompare = lpips.LPIPS(net='alex', pnet_rand=True)")
        ),
    ]
    yield Contest("startup", firsts, "first distance")


def list_batch_contests(model: str, release: Path, home: Path, precisions: Sequence[str], batch: int) -> Contest:
    """Make the contests of batches of pairs after a first one.

    In one process what a package does to it serves the others, too: how it lets freed memory be kept, say.

    Args:
        model: name of a released type.
        release: folder of its release.
        home: folder under which the model is installed as ours.
        precisions: precisions of our models.
        batch: pairs of pictures at once.
    """

    def subject(name: str, package: str, made: str, precision: str = "float32") -> Subject:
        before = f"{_PICTURES.format(batch)}{made}\n{_DISTANCE}"
        return Subject(name, lambda: lambda: watch(_DISTANCE, before), batch, package, model, precision)

    installed = _install(model, release, home)
    own = [subject(f"ours {p}", "dreamsim_metric", _write_ours(installed, p), p) for p in precisions]
    return Contest("alone", [subject("released", "dreamsim", _write_released(model, release)), *own], batch=batch)


def _write_released(model: str, release: Path) -> str:
    given = f"device='cpu', cache_dir={str(release)!r}, dreamsim_type={model!r}"
    return f"from dreamsim import dreamsim\ncompare, preprocess = dreamsim({given})"


def _write_ours(name: str, precision: str = "float32") -> str:
    return f"import dreamsim_metric\ncompare = dreamsim_metric.load({name!r}, precision={precision!r})"


def _write_first(made: str) -> str:
    return f"{_PICTURES.format(1)}{made}\n{_DISTANCE}"


def _install(model: str, release: Path, home: Path) -> str:
    """Write the released type merged and in our own format, as the first download leaves it."""
    folder = home / "installed" / model
    if not folder.is_dir():
        load(model, source=release).save_pretrained(folder)
    return str(folder)


def _make_subject(name: str, package: str, code: str, model: str = "") -> Subject:
    return Subject(name, lambda: lambda: watch(code), package=package, model=model)


def watch(code: str, before: str = "") -> Sample:
    """Run code in a new process, on one thread.

    Args:
        code: code that is timed.
        before: code that is run before, and not timed.

    Raises:
        RuntimeError: it failed; the message is its last line.
    """
    here = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", _WATCHED.format(code=code, before=before)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    wall, cpu, peak = json.loads(done.stdout.strip().rpartition("\n")[2])
    return Sample(wall, cpu, peak)
