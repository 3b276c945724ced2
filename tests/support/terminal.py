"""A terminal for a command: it shows its progress there, and asks a person."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Terminal:
    """A terminal, and the person before it.

    Attributes:
        fd: the file descriptor to give to the command.
    """

    fd: int
    _person: int
    _shown: bytearray = field(default_factory=bytearray)

    def shown(self) -> str:
        """All that was shown so far."""
        try:
            while part := os.read(self._person, 65536):
                self._shown.extend(part)
        except OSError:
            pass  # nothing more for now
        return self._shown.decode(errors="replace")

    def type(self, text: str) -> None:
        """What a person types."""
        os.write(self._person, text.encode())


@contextmanager
def terminal() -> Iterator[Terminal]:
    """A terminal for as long as the block."""
    person, fd = os.openpty()
    os.set_blocking(person, False)
    try:
        yield Terminal(fd, person)
    finally:
        os.close(person)
        os.close(fd)
