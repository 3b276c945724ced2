"""A terminal for a command's standard error, so that it shows its progress there."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def terminal() -> Iterator[tuple[int, Callable[[], str]]]:
    """The file descriptor to give to the command, and all that was shown so far."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    shown = bytearray()

    def read() -> str:
        try:
            while part := os.read(ours, 65536):
                shown.extend(part)
        except OSError:
            pass  # nothing more for now
        return shown.decode(errors="replace")

    try:
        yield theirs, read
    finally:
        os.close(ours)
        os.close(theirs)
