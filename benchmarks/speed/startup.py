"""Start-up: an import, and all up to a first distance, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dreamsim_metric import load

from .measure import Contest, Sample, Subject

# CPU seconds are of the code alone, without Python's own start; memory is what the process had at most.
_WATCHED = """
import json, sys, time
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
_PICTURES = "import torch\na, b = torch.rand(2, 1, 3, 224, 224)\n"


def startup(model: str, release: Path, home: Path, *, quick: bool = False) -> Iterator[Contest]:
    """The contests of imports and of first distances.

    Args:
        model: a released type.
        release: folder of its release.
        home: folder under which the model is installed as ours.
        quick: imports of ours only.
    """
    packages = ("dreamsim_metric",) if quick else ("dreamsim", "dreamsim_metric", "lpips", "torch")
    imports = [_subject(f"import {name}", name, f"import {name}") for name in packages]
    yield Contest("startup", imports, "import")
    if quick:
        return
    installed = _installed(model, release, home / "installed" / model)
    ours = f"{_PICTURES}import dreamsim_metric\ndreamsim_metric.load({{!r}})(a, b).item()"
    theirs = (
        f"{_PICTURES}from dreamsim import dreamsim\n"
        f"model, preprocess = dreamsim(device='cpu', cache_dir={str(release)!r}, dreamsim_type={model!r})\n"
        "model(a, b).item()"
    )
    lpips = f"{_PICTURES}import lpips\nlpips.LPIPS(net='alex', pnet_rand=True, verbose=False)(a, b).item()"
    firsts = [
        _subject("released", "dreamsim", theirs, model),
        _subject("ours", "dreamsim_metric", ours.format(str(installed)), model),
        _subject("ours, mini", "dreamsim_metric", ours.format("mini"), "mini"),
        _subject("LPIPS-Alex", "lpips", lpips),
    ]
    yield Contest("startup", firsts, "first distance")


def _installed(model: str, release: Path, folder: Path) -> Path:
    """The released type merged and in our own format, as the first download leaves it."""
    if not folder.is_dir():
        load(model, source=release).save_pretrained(folder)
    return folder


def _subject(name: str, package: str, code: str, model: str = "") -> Subject:
    return Subject(name, lambda: lambda: watch(code), package=package, model=model)


def watch(code: str) -> Sample:
    """Run code in a new process, on one thread.

    Raises:
        RuntimeError: it failed; the message is its last line.
    """
    here = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", _WATCHED.format(code=code)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    wall, cpu, peak = json.loads(done.stdout.strip().rpartition("\n")[2])
    return Sample(wall, cpu, peak)
