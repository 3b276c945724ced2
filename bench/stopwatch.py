"""Stopwatches put around functions from outside, so that what is measured carries none itself."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Timeline:
    """The wall's time of one process, cut into parts one after the other."""

    def __init__(self) -> None:
        self.parts: list[tuple[float, str]] = []
        self._last = time.perf_counter()

    def mark(self, part: str) -> None:
        """Say what the time since the last mark went into."""
        now = time.perf_counter()
        self.parts.append((now - self._last, part))
        self._last = now

    def around(self, owner: Any, name: str, label: Callable[..., str]) -> None:
        """Make each call of `owner.name` a part; what came before it is the program's own work."""
        real = getattr(owner, name)

        def call(*args: Any, **more: Any) -> Any:
            self.mark("our own Python")
            try:
                return real(*args, **more)
            finally:
                self.mark(label(*args))

        setattr(owner, name, call)


class Share:
    """Processor time of many threads, by what they did with it; a part inside another counts once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._within = threading.local()

    def around(self, owner: Any, name: str, part: str) -> None:
        """Count the calling thread's processor time in `owner.name` as that part's."""
        real = getattr(owner, name)

        def call(*args: Any, **more: Any) -> Any:
            outer = getattr(self._within, "inner", 0.0)
            self._within.inner, began = 0.0, time.thread_time()
            try:
                return real(*args, **more)
            finally:
                took = time.thread_time() - began
                with self._lock:
                    self.seconds[part] = self.seconds.get(part, 0.0) + took - self._within.inner
                self._within.inner = outer + took

        setattr(owner, name, call)
