"""A report as a table for people: a row a certificate, worst first, then what is wrong in words and what to do."""

from __future__ import annotations

from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TextIO

from meshfab.checks.report import weight
from meshfab.cli.step_lines import left
from meshfab.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import Console, ConsoleRenderable
    from rich.text import Text

    from meshfab.checks.finding import Status
    from meshfab.checks.report import CertificateReport, HostReport, Report

STYLES: dict[Status, str] = {"ok": "green", "warning": "yellow", "critical": "bold red", "unknown": "magenta"}
_WIDTH = 80
_BAR = 6


def console(out: TextIO | None = None) -> Console:
    """Where it is printed: colours on a terminal only and never with NO_COLOR, which rich looks after."""
    from rich.console import Console

    made = Console(file=out, highlight=False, markup=False, emoji=False)
    # In a pipe there is no width to fit, and the table is made to be read by 80 columns.
    if not made.is_terminal:
        made.width = _WIDTH
    return made


def show(report: Report, to: Console) -> None:
    """Print the table, the findings and the sum."""
    to.print(of(report, to))
    for host in by_weight(report):
        for status, words, remedy in _sentences(host):
            _say(to, status, words, remedy)
    to.print(summary(report), soft_wrap=True)


def of(report: Report, to: Console, *, most: int | None = None) -> ConsoleRenderable:
    """The table itself; `most` rows of it while the report still grows."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", collapse_padding=True, pad_edge=False)
    table.add_column("HOST", max_width=14, overflow="fold")
    table.add_column("SERVICE", max_width=16, overflow="fold")
    table.add_column("LIFE LEFT", no_wrap=True)
    table.add_column("SERVED", no_wrap=True)
    table.add_column("TIMER", no_wrap=True)
    table.add_column("NEXT", no_wrap=True, justify="right")
    table.add_column("FINDINGS", overflow="fold")
    for number, (host, one) in enumerate(_rows(report)):
        if number == most:
            break
        if one is None:
            table.add_row(_plain(host.host), *[""] * 5, Text("unknown", STYLES["unknown"]))
        else:
            table.add_row(*_row(host, one, report.checked_at, to))
    return table


def by_weight(report: Report) -> list[HostReport]:
    """The hosts, worst first."""
    return sorted(report.hosts, key=lambda host: (-weight(host.status), host.host))


def summary(report: Report) -> Text:
    """One line: how many of what, and how long it took."""
    from rich.text import Text

    certificates = [one for host in report.hosts for one in host.certificates]
    count: dict[Status, int] = {"critical": 0, "unknown": 0, "warning": 0, "ok": 0}
    for status in [one.status for one in certificates] + [host.status for host in report.hosts if host.error]:
        count[status] += 1
    hosts = len(report.hosts)
    line = Text(f"{hosts} host{'s' * (hosts != 1)}, {len(certificates)} certificates: ")
    words = [Text(f"{number} {status}", STYLES[status]) for status, number in count.items() if number]
    line.append(Text(", ").join(words) if words else Text("nothing to check"))
    if report.was_interrupted:
        line.append(" (interrupted)", "bold")
    return line.append(f" ({report.seconds:.1f} s)", "dim")


def _rows(report: Report) -> list[tuple[HostReport, CertificateReport | None]]:
    rows: list[tuple[HostReport, CertificateReport | None]] = []
    for host in report.hosts:
        rows += [(host, one) for one in host.certificates] or [(host, None)]

    def rank(row: tuple[HostReport, CertificateReport | None]) -> tuple[Any, ...]:
        host, one = row
        if one is None:
            return (-weight(host.status), 0.0, host.host, "")
        return (-weight(one.status), one.life_left(report.checked_at) or 0.0, host.host, one.name)

    return sorted(rows, key=rank)


def _row(host: HostReport, one: CertificateReport, now: datetime, to: Console) -> list[Text]:
    from rich.text import Text

    style = STYLES[one.status]
    served = {True: Text("yes", "green"), False: Text("no", "bold red"), None: Text("-", "dim")}[one.served]
    codes = Text(" ").join(Text(f.code, STYLES[f.status]) for f in one.findings) if one.findings else Text("ok", style)
    name = _plain(one.name) if one.kind == "service" else Text("(host)", "dim")
    return [_plain(host.host), name, _life(one, now, to), served, _timer(one), _next(one, now), codes]


def _life(one: CertificateReport, now: datetime, to: Console) -> Text:
    from rich.text import Text

    part = one.life_left(now)
    if part is None or one.not_after is None:
        return Text("-", "dim")
    # A little life is more than none.
    filled = max(round(part * _BAR), 1 if part else 0)
    full, empty = ("━", "─") if "utf" in to.encoding.lower() else ("#", ".")
    style = "bold red" if not part else "yellow" if part < 1 / 3 else "green"
    words = left(one.not_after - now) if part else "over"
    return Text(full * filled, style).append(empty * (_BAR - filled), "dim").append(f" {words}")


def _timer(one: CertificateReport) -> Text:
    from rich.text import Text

    if one.timer is None:
        return Text("-", "dim")
    if not one.timer.enabled or not one.timer.active:
        return Text("off", "bold red")
    has_failed = one.timer.last_result not in ("", "success")
    return Text("failed", "yellow") if has_failed else Text("ok", "green")


def _next(one: CertificateReport, now: datetime) -> Text:
    from rich.text import Text

    if one.timer is None or one.timer.next is None:
        return Text("-", "dim")
    return Text(left(max(one.timer.next - now, timedelta())))


def _sentences(host: HostReport) -> Iterator[tuple[Status, str, str]]:
    """Each finding in words, and the command that heals it where the next one does not say the same."""
    if host.error is not None:
        what, _, remedy = host.error.partition(" -> ")
        yield "unknown", one_line(f"{host.host}: {what}"), one_line(remedy)
    for one in sorted(host.certificates, key=lambda one: -weight(one.status)):
        where = f"{host.host} {one.name}" if one.kind == "service" else host.host
        for finding, after in zip_longest(one.findings, one.findings[1:]):
            is_said_below = after is not None and after.remedy == finding.remedy
            words = one_line(f"{where}: {finding.code}: {finding.message}")
            yield finding.status, words, "" if is_said_below else one_line(finding.remedy)


def _say(to: Console, status: Status, words: str, remedy: str) -> None:
    from rich.table import Table
    from rich.text import Text

    head = Text(f"{status:<8}", STYLES[status])
    if to.is_terminal:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(head, Text(words))
        to.print(grid)
    else:
        to.print(Text.assemble(head, " ", words), soft_wrap=True)
    if remedy:
        # soft_wrap: a command that is copied must not have line breaks of ours in it.
        to.print(Text.assemble(f"{'':8} -> ", (remedy, "bold")), soft_wrap=True)


def _plain(word: str) -> Text:
    from rich.text import Text

    return Text(word)
