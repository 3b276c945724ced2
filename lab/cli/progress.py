"""Progress lines of the tasks: one line for each step, with its duration."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class StepOutcome:
    """What the line of a step says; the step can change it while it runs."""

    def __init__(self, message: str) -> None:
        self.message = message


@contextmanager
def step(name: str, message: str = "ready") -> Iterator[StepOutcome]:
    """Measure a step, and print `name   message in N s` when it has succeeded."""
    outcome = StepOutcome(message)
    start = time.monotonic()
    yield outcome
    print_line(name, f"{outcome.message} in {time.monotonic() - start:.1f} s")


def print_line(name: str, message: str) -> None:
    """Print one line of progress."""
    sys.stdout.write(f"{name:<14} {message}\n")
    sys.stdout.flush()
