"""A Ray cluster: reached, kept quiet, and how many models it has place for."""

import contextlib
import io
import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dreamsim_metric.bounds import check_least
from dreamsim_metric.messages import say_error

_CPUS, _CPUS_BY_GPU = 4, 16  # at most, of an actor: more threads hardly help one model
_REACHED = 5.0  # seconds
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # answered by a frame of the same kind, 4


@dataclass(frozen=True)
class Pool:
    """How many actors there are, and what each has.

    Attributes:
        size: number of actors that fit now.
        cpus: number of CPUs an actor has.
        gpus: number of GPUs an actor has, 0 or 1.
    """

    size: int
    cpus: int
    gpus: int


@contextlib.contextmanager
def connect(address: str) -> Iterator[None]:
    """Connect to a Ray cluster for the time being, with nothing printed that is not ours.

    Args:
        address: `local` to start one on this machine's cores, `auto` for the one that this machine is part of, or
            HOST:PORT. One that this process is connected to already is used and kept.

    Raises:
        ConnectionError: there is none.
        ImportError: Ray is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent home
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "5")  # a second each, until an address is given up
    try:
        import ray.data
    except ModuleNotFoundError as error:
        raise ImportError(f"{error}; Ray needs more packages: pip install 'dreamsim_metric[ray]'") from error
    for name in ("ray", "ray.data"):
        for handler in logging.getLogger(name).handlers:
            if type(handler).__name__ in ("StreamHandler", "PlainRayHandler"):  # those of files stay
                handler.setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    with contextlib.redirect_stdout(io.StringIO()):  # where Ray reports lost actors, among a command's results
        reach(address)
        try:
            with _silence():
                ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
        except Exception as error:
            ray.shutdown()
            raise ConnectionError(f"no Ray cluster for --ray {address}: {say_error(error)}") from error
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence stderr, also for Ray's C++ code, which announces its log level there."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def reach(address: str) -> None:
    """Be sure that a gRPC server is there: Ray itself tries for long, and for ever with one that says nothing."""
    if address in ("local", "auto"):
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdigit():
        raise ValueError(
            f"got {address!r} as address of a Ray cluster; expected local, auto or HOST:PORT, on one of its machines"
        )
    try:
        with socket.create_connection((host, int(port)), _REACHED) as probe:
            probe.settimeout(_REACHED)
            if not os.environ.get("RAY_USE_TLS"):
                probe.sendall(_GREETING)
                if probe.recv(9)[3:4] != _GREETING[-6:-5]:
                    raise ConnectionError("something else answers there")
    except (OSError, OverflowError) as error:
        raise ConnectionError(
            f"no Ray cluster at {address} ({say_error(error)}); is `ray start --head` running?"
        ) from error


class Attempts:
    """How often each shard was begun, for an actor of its own; it is here, where that does without torch."""

    def __init__(self) -> None:
        self._by_shard: Counter[int] = Counter()

    def begin(self, shard: int) -> int:
        """Count one more attempt at a shard, and return the number of them."""
        self._by_shard[shard] += 1
        return self._by_shard[shard]


def list_machines() -> list[dict[str, float]]:
    """List what each machine of the cluster has: `CPU`, `GPU` and more."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def plan_pool(nodes: Sequence[Mapping[str, float]], device: str | None, cpus: int | None) -> Pool:
    """Plan the actors that machines have place for.

    Args:
        nodes: resources of each machine, in the form of `list_machines`.
        device: `cpu` or `cuda`; default CUDA where machines have it, else the CPU.
        cpus: number of CPUs an actor has; default a share of the smallest machine.

    Raises:
        ValueError: there is no place for any.
    """
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    cores = [int(node.get("CPU", 0)) for node in nodes]
    if cpus is not None:
        check_least("CPUs of an actor", cpus)
    if device != "cpu" and any(gpus):
        share = min(c // g for c, g in zip(cores, gpus, strict=True) if g)
        cpus = cpus or max(1, min(_CPUS_BY_GPU, share))
        size = sum(min(g, c // cpus) for c, g in zip(cores, gpus, strict=True))
    elif device == "cuda":
        raise ValueError(f"the Ray cluster has no GPU ({len(nodes)} nodes); leave the device out, or start nodes with")
    else:
        cpus = cpus or min([_CPUS, *filter(None, cores)])
        size = sum(c // cpus for c in cores)
    if not size:
        raise ValueError(
            f"the Ray cluster has no place for an actor of {cpus} CPUs: its nodes have {', '.join(map(str, cores))}"
        )
    return Pool(size, cpus, int(device != "cpu" and any(gpus)))
