"""One plain line per step, with the time that it took."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Outcome:
    """What a step says about itself when it has ended; a step may change its word."""

    def __init__(self, word: str) -> None:
        self.word = word


@contextmanager
def step(what: str, word: str = "ready") -> Iterator[Outcome]:
    """Time a step and print `what   word in N s` once it has succeeded."""
    outcome = Outcome(word)
    begin = time.monotonic()
    yield outcome
    say(what, f"{outcome.word} in {time.monotonic() - begin:.1f} s")


def say(what: str, word: str) -> None:
    """Print one line of progress."""
    sys.stdout.write(f"{what:<14} {word}\n")
    sys.stdout.flush()
