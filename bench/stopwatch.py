"""Measures functions from outside, so that the measured code has no stopwatch of its own."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# The part of a timeline that belongs to none of the measured calls.
BETWEEN_CALLS = "meshfab's own Python code"


class Timeline:
    """The wall-clock time of one process, divided into consecutive parts."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.parts: list[tuple[float, str]] = []
        self._clock = clock
        self._last = clock()

    def mark(self, part: str) -> None:
        """Assign the time since the last mark to a part."""
        now = self._clock()
        self.parts.append((now - self._last, part))
        self._last = now

    def measure(self, owner: Any, name: str, label: Callable[..., str]) -> None:
        """Replace `owner.name`, so that each call of it is a part; the time before a call is `BETWEEN_CALLS`."""
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.mark(BETWEEN_CALLS)
            try:
                return original(*args, **kwargs)
            finally:
                self.mark(label(*args))

        setattr(owner, name, call)


class CpuTimes:
    """The CPU time of all threads, by part. The time of a nested call counts for the inner part only."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._lock = threading.Lock()
        self._thread = threading.local()

    def measure(self, owner: Any, name: str, part: str) -> None:
        """Replace `owner.name`, so that the calling thread's CPU time in it counts for this part."""
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nested_before = getattr(self._thread, "nested", 0.0)
            self._thread.nested, began = 0.0, self._clock()
            try:
                return original(*args, **kwargs)
            finally:
                duration = self._clock() - began
                with self._lock:
                    self.seconds[part] = self.seconds.get(part, 0.0) + duration - self._thread.nested
                self._thread.nested = nested_before + duration

        setattr(owner, name, call)
