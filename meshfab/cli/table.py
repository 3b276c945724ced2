"""A report as a table for people: a row a certificate, worst first, then what is wrong in words and what to do."""

from __future__ import annotations

from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TextIO

from meshfab.checks.duration import duration
from meshfab.checks.report import weight
from meshfab.cli import look_limits
from meshfab.errors import fault_line, one_line

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


def import_rich() -> None:
    """Import what `show` imports."""
    import rich.console
    import rich.table
    import rich.text  # noqa: F401


def show(report: Report, to: Console) -> None:
    """Print the table, the findings, what was not checked, and the sum."""
    from rich.text import Text

    to.print(of(report, to))
    for host in by_weight(report):
        for status, message, remedy in _sentences(host):
            _say(to, status, message, remedy)
    if limits := look_limits.sentence(report.look):
        to.print(Text(limits, "dim"), soft_wrap=True)
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
    if report.look == "quick":
        table.add_column("LAST TICK", no_wrap=True)
    elif report.look == "full":
        table.add_column("TIMER", no_wrap=True)
        table.add_column("NEXT", no_wrap=True, justify="right")
    table.add_column("FINDINGS", overflow="fold")
    for number, (host, certificate) in enumerate(_rows(report)):
        if number == most:
            break
        if certificate is None:
            empty = [""] * (len(table.columns) - 2)
            table.add_row(_plain(host.host), *empty, Text("unknown", STYLES["unknown"]))
        else:
            table.add_row(*_row(host, certificate, report, to))
    return table


def by_weight(report: Report) -> list[HostReport]:
    """The hosts, worst first."""
    return sorted(report.hosts, key=lambda host: (-weight(host.status), host.host))


def summary(report: Report) -> Text:
    """One line: how many of what, and how long it took."""
    from rich.text import Text

    certificates = [certificate for host in report.hosts for certificate in host.certificates]
    count: dict[Status, int] = {"critical": 0, "unknown": 0, "warning": 0, "ok": 0}
    for status in [certificate.status for certificate in certificates] + [
        host.status for host in report.hosts if host.error
    ]:
        count[status] += 1
    hosts = len(report.hosts)
    line = Text(f"{hosts} host{'s' * (hosts != 1)}, {len(certificates)} certificates: ")
    message = [Text(f"{number} {status}", STYLES[status]) for status, number in count.items() if number]
    line.append(Text(", ").join(message) if message else Text("nothing to check"))
    if report.was_interrupted:
        line.append(" (interrupted)", "bold")
    return line.append(f" ({report.seconds:.1f} s)", "dim")


def _rows(report: Report) -> list[tuple[HostReport, CertificateReport | None]]:
    rows: list[tuple[HostReport, CertificateReport | None]] = []
    for host in report.hosts:
        rows += [(host, certificate) for certificate in host.certificates] or [(host, None)]

    def rank(row: tuple[HostReport, CertificateReport | None]) -> tuple[Any, ...]:
        host, certificate = row
        if certificate is None:
            return (-weight(host.status), 0.0, host.host, "")
        return (
            -weight(certificate.status),
            certificate.life_left(report.checked_at) or 0.0,
            host.host,
            certificate.name,
        )

    return sorted(rows, key=rank)


def _row(host: HostReport, certificate: CertificateReport, report: Report, to: Console) -> list[Text]:
    from rich.text import Text

    now = report.checked_at
    style = STYLES[certificate.status]
    served = {True: Text("yes", "green"), False: Text("no", "bold red"), None: Text("-", "dim")}[certificate.served]
    codes = (
        Text(" ").join(Text(f.code, STYLES[f.status]) for f in certificate.findings)
        if certificate.findings
        else Text("ok", style)
    )
    name = _plain(certificate.name) if certificate.kind == "service" else Text("(host)", "dim")
    return [
        _plain(host.host),
        name,
        _life(certificate, now, to),
        served,
        *_renewal(certificate, report),
        codes,
    ]


def _renewal(certificate: CertificateReport, report: Report) -> list[Text]:
    """The columns that tell of the renewal, by what such a look knows."""
    if report.look == "outside":
        return []
    if report.look == "quick":
        return [_last_tick(certificate)]
    return [_timer(certificate), _next(certificate, report.checked_at)]


def _last_tick(certificate: CertificateReport) -> Text:
    from rich.text import Text

    if certificate.age is None:
        return Text("-", "dim")
    is_silent = any(finding.code == "tick-silent" for finding in certificate.findings)
    return Text(f"{duration(timedelta(seconds=certificate.age))} ago", "yellow" if is_silent else "")


def _life(certificate: CertificateReport, now: datetime, to: Console) -> Text:
    from rich.text import Text

    part = certificate.life_left(now)
    if part is None or certificate.not_after is None:
        return Text("-", "dim")
    # A little life is more than none.
    filled = max(round(part * _BAR), 1 if part else 0)
    full, empty = ("━", "─") if "utf" in to.encoding.lower() else ("#", ".")
    style = "bold red" if not part else "yellow" if part < 1 / 3 else "green"
    message = duration(certificate.not_after - now) if part else "over"
    return Text(full * filled, style).append(empty * (_BAR - filled), "dim").append(f" {message}")


def _timer(certificate: CertificateReport) -> Text:
    from rich.text import Text

    if certificate.timer is None:
        return Text("-", "dim")
    if not certificate.timer.enabled or not certificate.timer.active:
        return Text("off", "bold red")
    has_failed = certificate.timer.last_result not in ("", "success")
    return Text("failed", "yellow") if has_failed else Text("ok", "green")


def _next(certificate: CertificateReport, now: datetime) -> Text:
    from rich.text import Text

    if certificate.timer is None or certificate.timer.next is None:
        return Text("-", "dim")
    return Text(duration(max(certificate.timer.next - now, timedelta())))


def _sentences(host: HostReport) -> Iterator[tuple[Status, str, str]]:
    """Each finding in words, and the command that heals it where the next one does not say the same."""
    if host.error is not None:
        yield "unknown", fault_line(f"{host.host}: {host.error}"), one_line(host.remedy, longest=None)
    for certificate in sorted(host.certificates, key=lambda certificate: -weight(certificate.status)):
        prefix = f"{host.host} {certificate.name}" if certificate.kind == "service" else host.host
        for finding, after in zip_longest(certificate.findings, certificate.findings[1:]):
            is_said_below = after is not None and after.remedy == finding.remedy
            yield (
                finding.status,
                f"{prefix}: {finding.code}: {finding.message}",
                "" if is_said_below else finding.remedy,
            )


def _say(to: Console, status: Status, message: str, remedy: str) -> None:
    from rich.table import Table
    from rich.text import Text

    head = Text(f"{status:<8}", STYLES[status])
    if to.is_terminal:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(head, Text(message))
        to.print(grid)
    else:
        to.print(Text.assemble(head, " ", message), soft_wrap=True)
    if remedy:
        # soft_wrap: a command that is copied must not have line breaks of ours in it.
        to.print(Text.assemble(f"{'':8} -> ", (remedy, "bold")), soft_wrap=True)


def _plain(word: str) -> Text:
    from rich.text import Text

    return Text(word)
