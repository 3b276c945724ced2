"""Where a sweep's work is done: by threads of this process, processes of this machine, or the workers of a cluster."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meshfab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# One interpreter is busy with 12 ms of each host's time. What processes cost to start, a quarter of a second of CPU
# each, is won back from here on (bench/scale.py crossover).
HOSTS_FOR_PROCESSES = 200
# Beyond this many the hosts' own answers are what is waited for.
_MOST_PROCESSES = 8
_DASK = "dask://"


@dataclass(frozen=True)
class ExecutorChoice:
    """Where the work is to be done, and why there.

    Attributes:
        kind: threads, processes or dask.
        reason: why, in words.
        processes: how many, where it is processes.
        address: `HOST:PORT` of the scheduler, where it is Dask.
    """

    kind: Literal["threads", "processes", "dask"]
    reason: str
    processes: int = 0
    address: str = ""


def choose(word: str, hosts: int, cores: int, left: Sequence[str] = ()) -> ExecutorChoice:
    """Decide where a sweep runs.

    Args:
        word: auto, threads, processes or dask://HOST:PORT.
        hosts: how many hosts are to be asked.
        cores: how many processors this process may use.
        left: what the configuration holds that does not travel to another process.

    Raises:
        InputError: the word is none of these, or what it asks for would leave something behind.
    """
    processes = min(cores, _MOST_PROCESSES)
    address = word.removeprefix(_DASK)
    is_dask = word.startswith(_DASK) and address.rpartition(":")[2].isdecimal() and not address.startswith(":")
    if word not in ("auto", "threads", "processes") and not is_dask:
        raise InputError(f"--executor {word!r} is unknown", remedy="use threads, processes or dask://HOST:PORT")
    if left and word not in ("auto", "threads"):
        what = f"{', '.join(left)} of the configuration does not travel to another process"
        raise InputError(
            what, remedy="use --executor threads, or log in by a key of the agent's and without a password"
        )
    if is_dask:
        return ExecutorChoice("dask", f"the workers of {address}", address=address)
    if word != "auto":
        return ExecutorChoice("threads" if word == "threads" else "processes", "asked for", processes)
    against = (
        f"{hosts} hosts are fewer than {HOSTS_FOR_PROCESSES}" * (hosts < HOSTS_FOR_PROCESSES),
        "there is one processor" * (cores < 2),
        f"{', '.join(left)} does not travel to another process" * bool(left),
    )
    if any(against):
        return ExecutorChoice("threads", next(filter(None, against)))
    return ExecutorChoice("processes", f"{hosts} hosts, {cores} processors", processes)


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def opened(choice: ExecutorChoice, hosts: int, parallel: int) -> Iterator[Executor]:
    """The executor of a choice, gone with all of its work at the end of the block.

    Args:
        choice: what `choose` said.
        hosts: how many hosts are to be asked.
        parallel: how many at once.

    Raises:
        InputError: Dask is not installed, or its scheduler cannot be reached or has no worker.
    """
    if choice.kind == "dask":
        from meshfab.fleet.dask_executor import Cluster

        pool: Executor = Cluster(choice.address)
    elif choice.kind == "processes":
        from meshfab.fleet.crew import Crew

        pool = Crew(choice.processes, -(-parallel // choice.processes))
    else:
        pool = ThreadPoolExecutor(min(parallel, hosts), thread_name_prefix="host")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
