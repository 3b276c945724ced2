"""`inv check-certs --watch`: the look repeated, what changed since the last round, and connections that stay open."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Protocol

from meshfab.checks import report_changes
from meshfab.cli import json_report
from meshfab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshfab.checks.report import Report
    from meshfab.checks.report_changes import Change

_LEAST_SECONDS = 1


class Check(Protocol):
    """One round of checks."""

    def __call__(self, *, with_progress: bool) -> Report: ...  # noqa: D102


def interval(text: str) -> int:
    """Check the seconds of `--watch`.

    Raises:
        InputError: it is not a whole number of seconds.
    """
    if not (text.isascii() and text.isdecimal()) or not _LEAST_SECONDS <= int(text[:9]) == int(text):
        raise InputError(f"--watch {text!r} is not a number of seconds", remedy="give the seconds between two rounds")
    return int(text)


def watch(
    check: Check,
    seconds: int,
    show: Callable[[Report], None],
    on_round: Callable[[Report], None],
    *,
    as_objects: bool,
) -> Report:
    """Check again and again until Ctrl-C or SIGTERM; return the last report that is whole.

    Args:
        check: one round.
        seconds: from the start of a round to the start of the next; a round that takes longer is followed at once.
        show: shows the first report.
        on_round: called with each report, such as to write it to a file.
        as_objects: print each later round as one line of JSON; else a line a change.
    """
    before: Report | None = None
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            began = time.monotonic()
            report = check(with_progress=before is None)
            if report.was_interrupted:
                return before or report
            on_round(report)
            changes = report_changes.changes(before, report) if before else ()
            if before is None:
                show(report)
            elif as_objects:
                _print_object(report, changes)
            else:
                _print_changes(report, changes)
            before = report
            time.sleep(max(seconds - (time.monotonic() - began), 0))
    except KeyboardInterrupt:
        if before is None:
            raise
        return before
    finally:
        signal.signal(signal.SIGTERM, previous)
        if not as_objects:
            sys.stdout.write("\n")


def print_object(report: Report) -> None:
    """The first line of a pipe: the whole report."""
    _print(json.dumps({**json_report.of(report), "changes": []}))


def _print_object(report: Report, changes: tuple[Change, ...]) -> None:
    """One JSON object a line: when, how things are now, and what changed."""
    _print(json.dumps({**json_report.head(report), "changes": [vars(change) for change in changes]}))


def _print_changes(report: Report, changes: tuple[Change, ...]) -> None:
    """On a terminal: a line a change; the last line says when it was looked, and is overwritten by the next round."""
    at = report.checked_at.astimezone().strftime("%H:%M:%S")
    sys.stdout.write("\r\033[K")
    for change in changes:
        sys.stdout.write(f"{at} {change}\n")
    sys.stdout.write(f"{at} {report.status}, next look follows; Ctrl-C ends")
    sys.stdout.flush()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
