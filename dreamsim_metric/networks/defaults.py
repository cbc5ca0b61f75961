"""What PyTorch is told for a whole process, set aside while something is made that must not depend on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

# The default dtype is one for all threads: the first to change it must be the last to restore it.
_lock = threading.RLock()


@contextmanager
def set_usual_defaults() -> Iterator[None]:
    """Let what is made inside be float32, on the CPU and fit for gradients, whatever the process is set to.

    Default dtype, default device, inference mode and autocast are the caller's again afterwards, after an error too. It
    is for making things: while it is in force and the process has another default dtype, other threads see float32.

    Example:
        >>> torch.set_default_dtype(torch.bfloat16)
        >>> with set_usual_defaults():
        ...     made = torch.ones(2)
        >>> made.dtype, torch.get_default_dtype()
        (torch.float32, torch.bfloat16)
        >>> torch.set_default_dtype(torch.float32)
    """
    # A default device is a look at every call of torch: none is set where the CPU is the default already.
    device = nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
    with torch.inference_mode(False), device, torch.autocast("cpu", enabled=False):
        if torch.get_default_dtype() == torch.float32:
            yield
            return
        with _lock:
            before = torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
            try:
                yield
            finally:
                torch.set_default_dtype(before)
