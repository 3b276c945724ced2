"""Where the hosts are checked: threads of this process, processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import os
import pickle
import signal
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from meshfab.config import password
from meshfab.errors import InputError
from meshfab.fleet.host_check import import_look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import ProcessPoolExecutor

T = TypeVar("T")
# One interpreter spends 12 ms on each host. Starting the processes costs a quarter of a second of CPU each; from this
# many hosts on, it is worth it (bench/scale.py crossover).
HOSTS_FOR_PROCESSES = 200
# With more processes than this, the time goes to waiting for the hosts.
_MAX_PROCESSES = 8
_DASK = "dask://"
# How long a worker process with free threads waits for a result before it asks for new calls.
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ExecutorChoice:
    """Where the hosts are checked, and the reason.

    Attributes:
        kind: threads, processes or dask.
        reason: why, in words.
        processes: the number of processes, if `kind` is processes.
        address: `HOST:PORT` of the scheduler, if `kind` is dask.
    """

    kind: Literal["threads", "processes", "dask"]
    reason: str
    processes: int = 0
    address: str = ""


def choose(executor: str, hosts: int, cores: int, not_portable: Sequence[str] = ()) -> ExecutorChoice:
    """Decide where the hosts are checked.

    Args:
        executor: auto, threads, processes or dask://HOST:PORT.
        hosts: the number of hosts.
        cores: the number of processors that this process may use.
        not_portable: keys of the configuration that cannot be sent to another process.

    Raises:
        InputError: `executor` is none of these, or it needs a configuration that is portable.
    """
    processes = min(cores, _MAX_PROCESSES)
    address = executor.removeprefix(_DASK)
    is_dask = executor.startswith(_DASK) and address.rpartition(":")[2].isdecimal() and not address.startswith(":")
    if executor not in ("auto", "threads", "processes") and not is_dask:
        raise InputError(f"--executor {executor!r} is unknown", remedy="use threads, processes or dask://HOST:PORT")
    if not_portable and executor not in ("auto", "threads"):
        what = f"{', '.join(not_portable)} of the configuration cannot be sent to another process"
        raise InputError(what, remedy="use --executor threads, or log in with a key of the SSH agent and no password")
    if is_dask:
        return ExecutorChoice("dask", f"the workers of {address}", address=address)
    if executor != "auto":
        return ExecutorChoice("threads" if executor == "threads" else "processes", "requested", processes)
    reasons_for_threads = (
        f"{hosts} hosts are fewer than {HOSTS_FOR_PROCESSES}" * (hosts < HOSTS_FOR_PROCESSES),
        "there is one processor" * (cores < 2),
        f"{', '.join(not_portable)} cannot be sent to another process" * bool(not_portable),
    )
    if any(reasons_for_threads):
        return ExecutorChoice("threads", next(filter(None, reasons_for_threads)))
    return ExecutorChoice("processes", f"{hosts} hosts, {cores} processors", processes)


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def opened(choice: ExecutorChoice, hosts: int, parallel: int) -> Iterator[Executor]:
    """Make the executor that was chosen; at the end of the block it stops, with all of its work.

    Args:
        choice: the result of `choose`.
        hosts: the number of hosts.
        parallel: how many hosts are checked at once.

    Raises:
        InputError: Dask is not installed, or its scheduler cannot be reached or has no worker.
    """
    if choice.kind == "dask":
        from meshfab.fleet.dask_executor import DaskExecutor

        pool: Executor = DaskExecutor(choice.address, parallel)
    elif choice.kind == "processes":
        pool = ProcessExecutor(choice.processes, -(-parallel // choice.processes))
    else:
        pool = ThreadPoolExecutor(min(parallel, hosts), thread_name_prefix="host")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class ProcessExecutor(Executor):
    """Worker processes with several threads each. What is called must be importable, and its values picklable.

    Each process is a ProcessPoolExecutor of its own: a process that dies breaks its pool and no other. A thread here
    feeds each process: it sends new calls and gets back the results that have arrived, so that the process always has
    work for its free threads, and a host that hangs blocks one thread.
    """

    def __init__(self, processes: int, threads: int) -> None:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import active_children, get_context

        self._threads = threads
        self._waiting: SimpleQueue[tuple[Future[Any], bytes] | None] = SimpleQueue()
        self._lock, self._alive = Lock(), processes
        context = get_context("spawn")
        self._pools = [ProcessPoolExecutor(1, context, _start_worker, (threads,)) for _ in range(processes)]
        others = set(active_children())
        # The first call starts the process. It inherits the signal mask: Ctrl-C in a terminal reaches all processes
        # of the command, and only this one acts on it.
        signal_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            first_calls = [pool.submit(_exchange, (), wait_for_result=False) for pool in self._pools]
            self.workers = [process for process in active_children() if process not in others]
            pairs = zip(self._pools, first_calls, strict=True)
            self._feeders = [Thread(target=self._feed, args=pair, daemon=True) for pair in pairs]
            for feeder in self._feeders:
                feeder.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signal_mask)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a call made in one of the processes."""
        future: Future[T] = Future()
        self._waiting.put((future, pickle.dumps((fn, args, kwargs))))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the processes: with `wait` when all calls are done, otherwise at once."""
        while cancel_futures and not self._waiting.empty():
            call = self._waiting.get()
            if call:
                call[0].cancel()
        for _ in self._feeders:
            self._waiting.put(None)
        for feeder in self._feeders if wait else ():
            feeder.join()
        for worker in self.workers:
            worker.kill()  # workers only read from hosts; there is nothing to finish
        for pool in self._pools:
            pool.shutdown(wait=wait)
        for feeder in self._feeders:
            feeder.join(2)

    def _feed(self, pool: ProcessPoolExecutor, first_call: Future[Any]) -> None:
        """Keep one process supplied with calls until the executor is shut down, or the process dies."""
        running: dict[int, Future[Any]] = {}
        numbers, is_shut_down = count(), False
        try:
            first_call.result()
            while running or not is_shut_down:
                calls: list[tuple[int, bytes]] = []
                while not is_shut_down and len(running) < self._threads:
                    try:
                        call = self._waiting.get(block=not running)
                    except Empty:
                        break
                    is_shut_down = call is None
                    if call and call[0].set_running_or_notify_cancel():
                        number = next(numbers)
                        running[number] = call[0]
                        calls.append((number, call[1]))
                if not running:
                    continue
                is_full = is_shut_down or len(running) == self._threads
                for number, result in pool.submit(_exchange, calls, wait_for_result=is_full).result():
                    future, (value, error) = running.pop(number), pickle.loads(result)  # noqa: S301  # our own process's
                    future.set_exception(error) if error else future.set_result(value)
        except RuntimeError:  # BrokenProcessPool, or the pool is shut down
            self._fail(running.values())

    def _fail(self, running: Iterable[Future[Any]]) -> None:
        """Fail the calls of a process that died, and all others if no process is left."""
        error = ChildProcessError("its worker process died")
        for future in running:
            future.set_exception(error)
        with self._lock:
            self._alive -= 1
            is_last = self._alive == 0
        while is_last and (call := self._waiting.get()):
            if call[0].set_running_or_notify_cancel():
                call[0].set_exception(error)


# What follows runs in a worker process.

_pool: ThreadPoolExecutor
_running: dict[Future[bytes], int] = {}


def _start_worker(threads: int) -> None:
    """Prepare a worker process."""
    from multiprocessing import parent_process

    global _pool  # noqa: PLW0603  # one for the process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    password.become_worker()
    # Standard output belongs to the report.
    os.dup2(2, 1)
    Thread(target=_exit_with, args=(parent_process(),), daemon=True).start()
    _pool = ThreadPoolExecutor(threads, thread_name_prefix="host")
    import_look("full")


def _exit_with(parent: Any) -> None:
    parent.join()
    os._exit(0)


def _exchange(calls: Iterable[tuple[int, bytes]], *, wait_for_result: bool) -> list[tuple[int, bytes]]:
    """Start calls in threads, and return the results that are there: those of earlier calls too."""
    for number, call in calls:
        _running[_pool.submit(_run, call)] = number
    done, _ = wait(_running, None if wait_for_result else _POLL_SECONDS, FIRST_COMPLETED)
    return [(_running.pop(future), future.result()) for future in done]


def _run(call: bytes) -> bytes:
    """Make a call and return its value and its error, pickled."""
    try:
        fn, args, kwargs = pickle.loads(call)  # noqa: S301  # from our own process
        return pickle.dumps((fn(*args, **kwargs), None))
    except BaseException as error:  # SystemExit too: it must not end the exchange
        return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
