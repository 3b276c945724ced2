"""A report as one web page without external resources: for a wall display or a static web server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.checks.report import weight
from meshfab.cli.step_lines import duration
from meshfab.errors import one_line

if TYPE_CHECKING:
    from datetime import datetime

    from meshfab.checks.report import CertificateReport, HostReport, Report

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def text(report: Report) -> str:
    """The page. Every value is shown as a terminal would show it, then escaped for HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    env.lstrip_blocks = True
    env.finalize = lambda value: one_line(value, folds=False, longest=None) if isinstance(value, str) else value
    count = dict.fromkeys(("critical", "unknown", "warning", "ok"), 0)
    cards = _cards(report)
    for card in cards:
        count[card["status"]] += 1
    return env.get_template("report.html.j2").render(report=report, cards=cards, count=count) + "\n"


def _cards(report: Report) -> list[dict[str, Any]]:
    """The cards of the page, worst first: a host that could not be checked has its own card."""
    cards = []
    for host in report.hosts:
        if host.error is not None or not host.certificates:
            cards.append(_unknown(host))
        cards += [_card(host, certificate, report.checked_at) for certificate in host.certificates]
    return sorted(cards, key=lambda card: (-weight(card["status"]), card["part"] or 0.0, card["host"], card["title"]))


def _unknown(host: HostReport) -> dict[str, Any]:
    what = host.error or "nothing is there"
    findings = [{"status": "unknown", "code": "not asked", "message": what, "remedy": host.remedy}]
    return {
        "status": host.status,
        "title": host.host,
        "host": "",
        "part": None,
        "life": "",
        "left": "",
        "facts": [],
        "findings": findings,
    }


def _card(host: HostReport, certificate: CertificateReport, now: datetime) -> dict[str, Any]:
    part = certificate.life_left(now)
    facts = []
    if certificate.not_after:
        facts.append(("until", f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"))
    if certificate.served is not None:
        facts.append(("served", "yes" if certificate.served else "no"))
    if certificate.timer is not None:
        on = certificate.timer.enabled and certificate.timer.active
        due = f", next {certificate.timer.next:%H:%M} UTC" if certificate.timer.next else ""
        facts.append(("timer", f"on, last tick: {certificate.timer.last_result or 'none yet'}{due}" if on else "off"))
    return {
        "status": certificate.status,
        "title": certificate.fqdn,
        "host": f"on {host.host}" if certificate.kind == "service" else "its own pair",
        "part": part,
        "life": "ok" if part is None or part >= 1 / 3 else "warning" if part else "critical",
        "left": duration(certificate.not_after - now)
        if part and certificate.not_after
        else "over"
        if part == 0
        else "",
        "facts": facts,
        "findings": certificate.findings,
    }
