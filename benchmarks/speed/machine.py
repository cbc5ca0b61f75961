"""The machine that times were taken on."""

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from dreamsim_metric.images.ahead import count_cores

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "bf16", "asimd")


def describe() -> dict[str, Any]:
    """Describe processor, GPU and libraries, by what decides how fast PyTorch is on them."""
    info = _name_processor()
    kernels = re.findall(r"Math Kernel Library Version [\d.]+|MKL-DNN v[\d.]+|BLAS_INFO=\w+", torch.__config__.show())
    found: dict[str, Any] = {
        "processor": info.get("model name") or platform.processor() or platform.machine(),
        "family, model": f"{info.get('cpu family', '?')}, {info.get('model', '?')}",
        "instructions": [flag for flag in _FLAGS if flag in info.get("flags", info.get("Features", "")).split()],
        "cores": count_cores(),
        "memory GB": round(_measure_memory() / 1e9),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "kernels": [re.sub("Math Kernel Library Version", "MKL", kernel) for kernel in kernels],
        "kernels chosen for": torch.backends.cpu.get_cpu_capability(),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = f"{properties.name}, {round(properties.total_memory / 1e9)} GB, CUDA {torch.version.cuda}"
    return found


def shorten_name(machine: dict[str, Any]) -> str:
    """Name a machine in a line that tells it from others."""
    cpu = f"{machine['processor']} (family, model {machine['family, model']}), {machine['cores']} cores"
    return " + ".join(filter(None, [cpu, machine.get("gpu")]))


def has_bfloat16() -> bool:
    """Tell whether the CPU multiplies bfloat16 by instructions made for it; without, it is slower than float32."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(describe()["instructions"])


def _name_processor() -> dict[str, str]:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().partition("\n\n")[0].splitlines() if file.is_file() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _measure_memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0.0
