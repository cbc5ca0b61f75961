"""The same embeddings from more machines: Ray actors with a model each, which make shard after shard."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dreamsim_metric.card import ModelCard, Precision
from dreamsim_metric.files.lock import lock_folder
from dreamsim_metric.files.store import is_file, is_url, make_path
from dreamsim_metric.files.table import Row
from dreamsim_metric.messages import say_error
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.scale.embedding import Embedder, Embeddings, Options
from dreamsim_metric.scale.ray_connection import Attempts, Pool, connect, list_machines, plan_pool
from dreamsim_metric.scale.scoring import Embedded, to_table
from dreamsim_metric.scale.shards import (
    SETTINGS,
    SHARD_SIZE,
    begin,
    check_settings,
    list_unreadable,
    name_shard_file,
    read_settings,
    read_shard,
    read_shards,
    write_shard,
)
from dreamsim_metric.weights.download import find_cache_dir

_DEVICES = (None, "cpu", "cuda")
_TRIES = 3  # of a shard that takes its actors down
_DEATHS = 10  # of actors that were starting


@dataclass(frozen=True)
class _Job:
    """What an actor needs: the caller's weights, so that no machine has to find others."""

    card: ModelCard
    state: dict[str, Tensor]
    precision: Precision
    is_compiled: bool
    options: Options
    folder: str
    working: str
    seen: tuple[str, ...]
    pool: Pool
    attempts: Any


def embed_folder(
    files: Sequence[str],
    out: str | Path,
    metric: PerceptualMetric,
    *,
    address: str,
    device: str | None = None,
    cpus: int | None = None,
    shard_size: int = SHARD_SIZE,
    options: Options | None = None,
) -> Embedded:
    """Embed files into a folder by a Ray cluster: as `scoring.embed_folder` does; either ends what the other began.

    A shard is what is made anew when an actor or a machine is lost.

    Args:
        files: paths or URLs under which all machines see the files.
        out: folder for the shards, a URL or one that all machines see.
        metric: a metric on the CPU; the actors get its weights from here.
        address: the cluster's address, one that `connect` takes.
        device: `cpu` or `cuda`; default CUDA, one GPU an actor, on machines that have it, else the CPU.
        cpus: number of CPUs an actor has; default 4 or as many as the smallest machine has, with a GPU its share, at
            most 16.
        shard_size: number of files a shard.
        options: batch size, decoder and more; default `Options()`. `workers` is as many as an actor has CPUs unless
            said otherwise.

    Raises:
        ValueError: the folder holds something else, or the cluster has no place for such a pool.
        ConnectionError: there is no such cluster.
        RuntimeError: a shard cannot be made, for a reason that the message says; those that are done are kept.
    """
    settings = options or Options()
    if device not in _DEVICES:
        raise ValueError(f"got device={device!r}; expected 'cpu' or 'cuda': Ray says which GPU is whose")
    names, folder = list(dict.fromkeys(map(str, files))), make_path(out)
    hidden = None if settings.progress else True
    with lock_folder(folder), tqdm(total=len(names), unit="picture", disable=hidden) as bar:
        begin(folder, names, metric, settings.decoder, shard_size)
        shards = {number: names[i : i + shard_size] for number, i in enumerate(range(0, len(names), shard_size))}
        missing = _list_missing(folder, shards, metric.card.embedding_size)
        bar.initial = sum(map(len, shards.values())) - sum(map(len, missing.values()))
        bar.update(bar.initial)
        if missing:
            with connect(address):
                for made in make_shards(missing, folder, metric, plan_pool(list_machines(), device, cpus), settings):
                    bar.update(made["pictures"])
    unreadable = [list_unreadable(name_shard_file(folder, number)) for number in shards]
    return Embedded(
        len(names), len(shards), len(shards) - len(missing), {k: v for some in unreadable for k, v in some.items()}
    )


def embed_files(
    files: Sequence[str],
    metric: PerceptualMetric,
    *,
    address: str,
    shards: str | Path | None = None,
    device: str | None = None,
    cpus: int | None = None,
    shard_size: int = SHARD_SIZE,
    options: Options | None = None,
) -> Embeddings:
    """Embed files by a Ray cluster, as `scoring.embed_files` does.

    Args:
        files: paths or URLs under which all machines see the files.
        metric: a metric on the CPU; the actors get its weights from here.
        address: the cluster's address, one that `connect` takes.
        shards: folder where a stopped run goes on and later ones find everything done; default a folder in the
            package's cache, which all machines must see as well, and which is removed in the end.
        device: `cpu` or `cuda`; default CUDA where machines have it, else the CPU.
        cpus: number of CPUs an actor has; default what `embed_folder` chooses.
        shard_size: number of files a shard.
        options: batch size, decoder and more; default `Options()`.

    Raises:
        ValueError, ConnectionError, RuntimeError: what `embed_folder` raises.
    """
    names = list(dict.fromkeys(map(str, files)))
    options = options or Options()
    settings = read_settings(metric, options.decoder)
    digest = hashlib.sha256(json.dumps([settings, names]).encode()).hexdigest()[:16]
    folder = shards or find_cache_dir() / "ray" / digest
    embed_folder(
        names, folder, metric, address=address, device=device, cpus=cpus, shard_size=shard_size, options=options
    )
    found = read_shards(folder)
    if shards is None:
        shutil.rmtree(folder)
    return found


def _list_missing(folder: Path, shards: dict[int, list[str]], width: int) -> dict[int, list[str]]:
    return {
        number: some
        for number, some in shards.items()
        if read_shard(name_shard_file(folder, number), len(some), width) is None
    }


def make_shards(
    shards: dict[int, list[str]], folder: Path, metric: PerceptualMetric, pool: Pool, options: Options
) -> Iterator[Row]:
    """Make shards of a folder that was begun, by Ray Data, which gives one to another actor if its own is lost.

    Args:
        shards: files by number of the shard.
        folder: folder for the shards, a URL or one that all machines see.
        metric: a metric on the CPU; the actors get its weights from here.
        pool: the actors that `plan_pool` gave.
        options: batch size, decoder and more.

    Yields:
        What was made, in no order: `shard`, `pictures`, `node`, `actor` (its process), `began` and `ended`
        (seconds since 1970).

    Raises:
        RuntimeError: a shard cannot be made; the message says why.
    """
    import ray.data

    job = _Job(
        metric.card,
        {name: tensor.cpu() for name, tensor in metric.state_dict().items()},
        metric.precision,
        metric.is_compiled,
        options,
        str(folder),
        os.getcwd(),
        tuple(sorted(_list_folders(shards))),
        pool,
        ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote(),
    )
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_consecutive_actor_init_deaths = _DEATHS
    # When no shard waits any more Ray Data lets idle actors go, and one of a lost machine finds its place.
    actors = ray.data.ActorPoolStrategy(min_size=1, max_size=len(shards), initial_size=min(pool.size, len(shards)))
    with ray.data.DataContext.current(context):
        blocks = [{"shard": number, "files": files} for number, files in shards.items()]
        made = ray.data.from_items(blocks, override_num_blocks=len(blocks)).map(
            _Actor,
            fn_constructor_args=(ray.put(job),),
            compute=actors,
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
        )
        try:
            for rows in made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in rows.to_pylist():
                    failure = row.pop("failure")
                    if failure:
                        raise RuntimeError(f"{failure}; finished shards are kept in {folder}")
                    yield row
        except ray.exceptions.RayError as error:
            raise RuntimeError(f"Ray gave up ({say_error(error)}); finished shards are kept in {folder}") from error


class _Actor:
    """One model in a process of its own; what goes wrong is told in the rows."""

    def __init__(self, job: Any) -> None:
        import ray

        self._node, self._failure = ray.util.get_node_ip_address(), ""
        try:
            self._start(ray.get(job))
        except Exception as error:
            self._failure = self._told(error)

    def _start(self, job: _Job) -> None:
        self._attempts = job.attempts
        torch.set_num_threads(job.pool.cpus)
        if Path(job.working).is_dir():
            os.chdir(job.working)  # names may be relative to it
        unseen = [folder for folder in job.seen if not Path(folder).is_dir()]
        self._folder = make_path(job.folder)
        if not is_file(self._folder / SETTINGS):
            unseen.append(job.folder)
        if unseen:
            raise ValueError(f"{unseen[0]} is not there; expected folders that all machines share, or URLs")
        metric = PerceptualMetric(job.card, job.state)
        metric.set_precision(job.precision)
        if job.pool.gpus:
            metric.to("cuda")
        if job.is_compiled:
            metric.compile_networks()
        check_settings(self._folder, metric, job.options.decoder)  # other versions would make other numbers
        options = replace(job.options, workers=job.options.workers or job.pool.cpus, progress=False)
        self._embed = Embedder(metric, None, options)

    def __call__(self, row: Row) -> Row:
        began, number, files = time.time(), int(row["shard"]), list(map(str, row["files"]))
        failure = self._failure
        if not failure:
            try:
                self._make(number, files)
            except Exception as error:
                failure = self._told(error)
        return {
            "shard": number,
            "pictures": len(files),
            "node": self._node,
            "actor": os.getpid(),
            "began": began,
            "ended": time.time(),
            "failure": failure,
        }

    def _make(self, number: int, files: list[str]) -> None:
        import ray

        if ray.get(self._attempts.begin.remote(number)) > _TRIES:
            raise RuntimeError(
                f"{_TRIES} actors were killed over shard {number}, {files[0]} … {files[-1]}; "
                "was memory short, or is a file there that kills what decodes it?"
            )
        write_shard(name_shard_file(self._folder, number), to_table(files, self._embed(files)))

    def _told(self, error: Exception) -> str:
        return f"{say_error(error)} (on {self._node})"


def _list_folders(shards: dict[int, list[str]]) -> set[str]:
    """Local folders of pictures that this machine sees, and others should: some of them, of each shard its first."""
    first = (some[0] for some in shards.values())
    return set(filter(os.path.isdir, (os.path.dirname(os.path.abspath(name)) for name in first if not is_url(name))))
