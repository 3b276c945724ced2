"""Many calls at once within one time limit. A call that hangs is left behind: a look-up of a name cannot be stopped."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
R = TypeVar("R")


def call_all(function: Callable[[T], R], items: Iterable[T], *, deadline: float, at_once: int) -> dict[T, R]:
    """Call a function for each item, in daemon threads, and return the results that are there at the deadline.

    Args:
        function: what is called; its first exception is raised here.
        items: the arguments; no call begins after the deadline.
        deadline: by the monotonic clock.
        at_once: the number of threads.
    """
    waiting: SimpleQueue[T] = SimpleQueue()
    done: SimpleQueue[tuple[T, R] | BaseException] = SimpleQueue()
    missing = 0
    for item in items:
        waiting.put(item)
        missing += 1

    def work() -> None:
        try:
            while time.monotonic() < deadline:
                item = waiting.get_nowait()
                done.put((item, function(item)))
        except Empty:
            pass
        except BaseException as error:  # raised in the caller's thread
            done.put(error)

    for _ in range(min(at_once, missing)):
        Thread(target=work, name="call", daemon=True).start()
    results: dict[T, R] = {}
    while len(results) < missing:
        try:
            result = done.get(timeout=max(deadline - time.monotonic(), 0))
        except Empty:
            break
        if isinstance(result, BaseException):
            raise result
        results[result[0]] = result[1]
    return results
