"""What a page of check-certs keeps of its report, so that the next page can say what is new since. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from meshfab.checks.finding import Finding
from meshfab.checks.report import EXIT, CertificateReport, HostReport, Report
from meshfab.checks.report_changes import worst_by_code

if TYPE_CHECKING:
    from meshfab.checks.finding import Status

# A thousand certificates take 100 KB; the page around it a megabyte.
MAX_PAGE = 16 * 1024 * 1024
_BEGIN, _END = '<script type="application/json" id="state">', "</script>"
_SERIAL = re.compile(r"[0-9]{1,100}", re.ASCII)


def dump(report: Report) -> str:
    """The state of a report as JSON that can stand within a page."""
    hosts = [
        [
            host.host,
            host.error is not None,
            [
                [each.kind, each.name, each.serial, {code: f.status for code, f in worst_by_code(each).items()}]
                for each in host.certificates
            ],
        ]
        for host in report.hosts
    ]
    state = {"at": int(report.checked_at.timestamp()), "look": report.look, "hosts": hosts}
    # The end of the element must not occur within it.
    return json.dumps(state, separators=(",", ":")).replace("<", "\\u003c")


def parse(page: str) -> Report | None:
    """The report of an earlier page, as far as changes need it; None if the text is no page of ours.

    Anybody may have written the file, so only what has the form of a state counts.
    """
    at = page.find(_BEGIN) if len(page) <= MAX_PAGE else -1
    end = page.find(_END, at)
    if at < 0 or end < 0:
        return None
    try:
        state = json.loads(page[at + len(_BEGIN) : end])
        checked_at = datetime.fromtimestamp(int(state["at"]), timezone.utc)
        look = state["look"]
        if look not in ("full", "quick", "outside"):
            return None
        return Report(checked_at, tuple(_host(*host) for host in state["hosts"]), look=look)
    except (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
        return None


def _host(name: Any, is_lost: Any, certificates: Any) -> HostReport:
    if not isinstance(name, str):
        raise TypeError(name)
    # What was wrong then is not told again; that it was lost is enough.
    error = "it could not be asked" if is_lost else None
    return HostReport(name, tuple(_certificate(*certificate) for certificate in certificates), error)


def _certificate(kind: Any, name: Any, serial: Any, findings: Any) -> CertificateReport:
    if kind not in ("service", "host") or not isinstance(name, str) or not isinstance(findings, dict):
        raise TypeError(name)
    if serial is not None and not _SERIAL.fullmatch(serial):
        raise ValueError(serial)
    return CertificateReport(
        name,
        "",
        kind,
        serial=serial,
        findings=tuple(Finding(code, _status(status), "") for code, status in findings.items()),
    )


def _status(value: Any) -> Status:
    if value not in EXIT:
        raise ValueError(value)
    status: Status = value
    return status
