"""Processes that each work on several hosts at once, behind the interface of `concurrent.futures`.

Python's own pool is not used: it runs one task a process at a time, so that a host that hangs would hold a whole core
back, and its children run the main script of the caller once more. These are started anew, inherit no socket and no
Ctrl-C, end when their parent is gone, and are killed at the end of the sweep: they only read.
"""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from collections import deque
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
# The same modules as here, whatever folder the process is started in.
_START = "import sys; sys.path[:] = {path!r}; from meshfab.fleet.member import serve; serve({threads})"


class _Member:
    """One process, and the numbers of the calls that it has been given."""

    def __init__(self, threads: int) -> None:
        self.busy: set[int] = set()
        self.is_alive = True
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path, threads=threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def send(self, message: bytes) -> None:
        try:
            assert self.process.stdin  # a pipe, as asked for above  # noqa: S101
            self.process.stdin.write(message)
            self.process.stdin.flush()
        except OSError:
            return  # it has died; whoever listens to it finds out


class Crew(Executor):
    """So many processes with so many threads each; what is called must be importable, and its values picklable."""

    def __init__(self, processes: int, threads: int) -> None:
        self._lock = Lock()
        self._numbers = itertools.count()
        self._futures: dict[int, Future[Any]] = {}
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._room = threads
        self._members = [_Member(threads) for _ in range(processes)]
        self._ears = [Thread(target=self._listen, args=(member,), daemon=True) for member in self._members]
        for ear in self._ears:
            ear.start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a call made in one of the processes."""
        number, future = next(self._numbers), Future[T]()
        message = pickle.dumps((number, pickle.dumps((fn, args, kwargs))))
        with self._lock:
            self._futures[number] = future
            self._waiting.append((number, message))
            self._hand_out()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes: after all of the work with `wait`, else at once, whatever they are at."""
        with self._lock:
            futures = list(self._futures.values())
        if cancel_futures:
            for future in futures:
                future.cancel()
        if wait:
            wait_for(futures)
        for member in self._members:
            member.process.kill()
        for member, ear in zip(self._members, self._ears, strict=True):
            member.process.wait()
            ear.join()
            for pipe in (member.process.stdin, member.process.stdout):
                if pipe:
                    _close(pipe)

    def _hand_out(self) -> None:
        """Give what waits to whoever has least to do; the lock is held."""
        while self._waiting:
            free = [one for one in self._members if one.is_alive and len(one.busy) < self._room]
            if not free:
                break
            number, message = self._waiting.popleft()
            if not self._futures[number].set_running_or_notify_cancel():
                del self._futures[number]
                continue
            member = min(free, key=lambda one: len(one.busy))
            member.busy.add(number)
            member.send(message)
        if not any(one.is_alive for one in self._members):
            self._give_up([number for number, _ in self._waiting])
            self._waiting.clear()

    def _listen(self, member: _Member) -> None:
        while True:
            try:
                number, value, error = pickle.load(member.process.stdout)  # type: ignore[arg-type]  # our own process  # noqa: S301
            except (EOFError, OSError, ValueError, pickle.UnpicklingError):
                break
            with self._lock:
                member.busy.discard(number)
                future = self._futures.pop(number)
                self._hand_out()
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(RuntimeError(error))
        with self._lock:
            member.is_alive = False
            self._give_up(list(member.busy))
            member.busy.clear()
            self._hand_out()

    def _give_up(self, numbers: list[int]) -> None:
        for number in numbers:
            future = self._futures.pop(number)
            if future.running() or future.set_running_or_notify_cancel():
                future.set_exception(ChildProcessError("its worker process has died"))


def _close(pipe: Any) -> None:
    try:
        pipe.close()
    except OSError:
        return  # what it still held goes nowhere
