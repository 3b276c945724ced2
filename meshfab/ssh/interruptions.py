"""Ctrl-C, SIGTERM and SIGHUP: when they may interrupt, and what must be done first."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object]
    Handlers = dict[signal.Signals, Handler]

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def one_interruption() -> Iterator[None]:
    """Let the first signal that raises an exception do so, and ignore further ones until the end of the block.

    Two that follow each other closely would otherwise interrupt the clean-up of the first before it ignores them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _handlers()

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in before:
            # Not SIG_IGN: Python complains of a signal that is pending when its handler goes.
            signal.signal(each, lambda _number, _frame: None)
        before[signal.Signals(number)](number, frame)

    with _handled_by(interrupt, before):
        yield


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and SIGHUP during a clean-up, which has its own time-outs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Handle what arrives within the block at its end; keep the block short.

    paramiko takes its locks with `acquire()` and `try`. Python runs the handlers of signals between these two as well,
    and an exception there leaves the lock taken: the thread of the connection then waits for ever, and so does
    everybody who closes it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        # Not the frame: its variables may hold the password.
        arrived.append(number)

    before = _handlers()
    try:
        with _handled_by(hold, before):
            yield
    finally:
        for each in arrived:
            before[signal.Signals(each)](each, None)


def _handlers() -> Handlers:
    """The present handlers of the signals that have one."""
    return {number: handler for number in _NUMBERS if callable(handler := signal.getsignal(number))}


@contextmanager
def _handled_by(handler: Handler, before: Handlers) -> Iterator[None]:
    """Handle these signals in another way until the end of the block."""
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
