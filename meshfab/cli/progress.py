"""A live line while check-certs runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshfab.checks.report import HostReport, Report
from meshfab.cli import table

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import ConsoleRenderable

    from meshfab.checks.report import Look

# The rows of an unfinished report that fit on a screen.
_ROWS_ON_THE_WAY = 12


class Progress:
    """A live line on a terminal, with the worst results so far above it; nothing in a pipe.

    It goes to stderr, so that stdout holds the report alone.
    """

    def __init__(self, checked_at: datetime, total: int, *, with_table: bool, look: Look = "full") -> None:
        from rich.live import Live

        self._checked_at, self._total, self._with_table = checked_at, total, with_table
        self._look = look
        self._found: list[HostReport] = []
        self._to = table.console(sys.stderr)
        self._live = Live(console=self._to, transient=True, refresh_per_second=8, get_renderable=self._render)

    def __enter__(self) -> Progress:
        if self._to.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._to.is_terminal:
            self._live.stop()

    def on_result(self, host: HostReport, _to_come: int) -> None:
        """One more host has answered."""
        self._found.append(host)

    def _render(self) -> ConsoleRenderable:
        from rich.console import Group
        from rich.text import Text

        report = Report(self._checked_at, tuple(self._found), look=self._look)
        bad = [host.host for host in table.by_weight(report) if host.status in ("critical", "unknown")]
        line = Text(f"{len(self._found)} of {self._total} hosts", "bold")
        if bad:
            line.append(f"; with problems: {', '.join(bad[:6])}{' …' * (len(bad) > 6)}", "red")
        if not self._with_table or not self._found:
            return line
        return Group(table.of(report, self._to, most=min(_ROWS_ON_THE_WAY, max(self._to.height - 4, 1))), line)
