"""A report as one web page without external resources: for a wall display, a static web server, or a file."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.checks import report_changes
from meshfab.checks.duration import duration
from meshfab.checks.report import weight
from meshfab.cli import look_limits, page_state
from meshfab.errors import one_line

if TYPE_CHECKING:
    from datetime import datetime

    from meshfab.checks.report import CertificateReport, HostReport, Report

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_MOST_CHANGES = 50


def text(report: Report, previous: str = "") -> str:
    """The page. Every value is shown as a terminal would show it, then escaped for HTML.

    Args:
        report: what to show.
        previous: the page that this one replaces; what changed since is shown too. Empty if there is none.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    env = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    env.lstrip_blocks = True
    env.finalize = _finalize
    count = dict.fromkeys(("critical", "unknown", "warning", "ok"), 0)
    rows = _rows(report)
    for row in rows:
        count[row["status"]] += 1
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    # The only script that the page lets run is this one, whatever a host managed to say.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    before = page_state.parse(previous)
    changes = report_changes.changes(before, report) if before and before.look == report.look else ()
    return (
        env.get_template("report.html.j2").render(
            report=report,
            rows=rows,
            count=count,
            before=before,
            changes=changes[:_MOST_CHANGES],
            more_changes=max(len(changes) - _MOST_CHANGES, 0),
            limits=look_limits.sentence(report.look),
            script=Markup(script),  # noqa: S704  # our own file
            script_digest=digest,
            state=Markup(page_state.dump(report)),  # noqa: S704  # JSON without "<"
        )
        + "\n"
    )


def _finalize(value: Any) -> Any:
    """Text as a terminal would show it; our own markup as it is."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return one_line(value, folds=False, longest=None) if is_text else value


def _rows(report: Report) -> list[dict[str, Any]]:
    """The rows of the table, worst first: a host that could not be checked has its own row."""
    rows = []
    for host in report.hosts:
        if host.error is not None or not host.certificates:
            rows.append(_unknown(host))
        rows += [_row(host, certificate, report.checked_at) for certificate in host.certificates]
    return sorted(rows, key=lambda row: (-row["weight"], row["part"] or 0.0, row["host"], row["title"]))


def _unknown(host: HostReport) -> dict[str, Any]:
    what = host.error or "nothing is there"
    findings = [{"status": "unknown", "code": "not asked", "message": what, "remedy": host.remedy}]
    return {
        "status": host.status,
        "weight": weight(host.status),
        "title": "(the host)",
        "host": host.host,
        "part": None,
        "life": "",
        "left": "",
        "seconds": "",
        "until": "",
        "served": "",
        "renewal": "",
        "findings": findings,
    }


def _row(host: HostReport, certificate: CertificateReport, now: datetime) -> dict[str, Any]:
    part, not_after = certificate.life_left(now), certificate.not_after
    left = (duration(not_after - now) if part else "over") if not_after and part is not None else ""
    return {
        "status": certificate.status,
        "weight": weight(certificate.status),
        # Two hosts may give themselves the same name: the operator's name for the host tells them apart.
        "title": certificate.fqdn if certificate.kind == "service" else f"{certificate.fqdn} (its own pair)",
        "host": host.host,
        "part": part,
        "life": "ok" if part is None or part >= 1 / 3 else "warning" if part else "critical",
        "left": left,
        "seconds": int((not_after - now).total_seconds()) if not_after else "",
        "until": f"{not_after:%Y-%m-%d %H:%M} UTC" if not_after else "",
        "served": "" if certificate.served is None else "yes" if certificate.served else "no",
        "renewal": _renewal(certificate),
        "findings": certificate.findings,
    }


def _renewal(certificate: CertificateReport) -> str:
    if certificate.age is not None:
        minutes = int(certificate.age) // 60
        return f"last tick {minutes} min ago"
    timer = certificate.timer
    if timer is None:
        return ""
    if not (timer.enabled and timer.active):
        return "timer off"
    due = f", next {timer.next:%H:%M} UTC" if timer.next else ""
    return f"last tick: {timer.last_result or 'none yet'}{due}"
