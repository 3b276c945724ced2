"""Settings of the Python interpreter for a command that runs for a second and imports most of the time."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SWITCH_SECONDS = 0.0005


@contextmanager
def garbage_collector_paused() -> Iterator[None]:
    """Pause the search for reference cycles: in a run of a second it only takes time, at imports and again at exit."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def quick_thread_switches() -> Iterator[None]:
    """Switch between threads ten times as often: else the imports delay each of the handshake's dozen steps by 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
