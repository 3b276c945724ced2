"""A report as JSON. Its shape is an interface: `meshfab/cli/schemas/check-certs.schema.json` describes it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.cli import look_limits

if TYPE_CHECKING:
    from meshfab.checks.report import CertificateReport, Report, TimerReport
    from meshfab.host.history import History

SCHEMA = Path(__file__).resolve().parent / "schemas" / "check-certs.schema.json"


def text(report: Report) -> str:
    """The whole report as one JSON object with a final newline."""
    return json.dumps(of(report), indent=2) + "\n"


def of(report: Report) -> dict[str, Any]:
    """The same as plain values."""
    return {
        **head(report),
        "hosts": [
            {
                "host": host.host,
                "status": host.status,
                "error": host.error,
                "remedy": host.remedy,
                "certificates": [_certificate(certificate, report.checked_at) for certificate in host.certificates],
            }
            for host in report.hosts
        ],
    }


def head(report: Report) -> dict[str, Any]:
    """The report without its hosts."""
    return {
        "checked_at": _time(report.checked_at),
        "look": report.look,
        "not_checked": list(look_limits.NOT_CHECKED[report.look]),
        "status": report.status,
    }


def _certificate(certificate: CertificateReport, now: datetime) -> dict[str, Any]:
    return {
        "name": certificate.name,
        "fqdn": certificate.fqdn,
        "kind": certificate.kind,
        "status": certificate.status,
        "not_after": _time(certificate.not_after),
        "remaining_seconds": int((certificate.not_after - now).total_seconds()) if certificate.not_after else None,
        "serial": certificate.serial,
        "sans": list(certificate.sans),
        "served_serial": certificate.served_serial,
        "timer": _timer(certificate.timer),
        "history": _history(certificate.history),
        "as_of": _time(certificate.as_of),
        "age_seconds": None if certificate.age is None else int(certificate.age),
        "findings": [
            {"code": f.code, "status": f.status, "message": f.message, "remedy": f.remedy} for f in certificate.findings
        ],
    }


def _timer(timer: TimerReport | None) -> dict[str, Any] | None:
    if timer is None:
        return None
    return {
        "enabled": timer.enabled,
        "active": timer.active,
        "last_result": timer.last_result,
        "next": _time(timer.next),
    }


def _history(history: History | None) -> dict[str, Any] | None:
    if history is None:
        return None
    return {
        "generations": [
            {
                "serial": str(generation.serial),
                "not_before": _time(generation.not_before),
                "not_after": _time(generation.not_after),
                "key_digest": generation.key_digest,
                "provisioner": generation.provisioner,
                "revoked": generation.is_revoked,
            }
            for generation in history.generations
        ],
        "unreadable": history.unreadable,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
