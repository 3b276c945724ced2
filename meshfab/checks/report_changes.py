"""What changed from one report to the next. Pure: two reports in, changes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.checks.report import weight
from meshfab.errors import fault_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshfab.checks.finding import Finding, Status
    from meshfab.checks.report import CertificateReport, HostReport, Report


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        host: the host.
        name: the service's short name; empty for the host itself.
        status: how bad things are now: "ok" for what is well again.
        message: what changed, one line; it may quote the host.
        remedy: what to do about it; empty if there is nothing to do.
    """

    host: str
    name: str
    status: Status
    message: str
    remedy: str = ""

    def __post_init__(self) -> None:
        """Make the message safe to show."""
        object.__setattr__(self, "message", fault_line(self.message))

    def __str__(self) -> str:
        who = f"{self.host} {self.name}" if self.name else self.host
        what = f"{self.status:<8} {who}: {self.message}"
        return f"{what} -> {self.remedy}" if self.remedy else what


def changes(before: Report, after: Report) -> tuple[Change, ...]:
    """The changes, in the order of the hosts."""
    earlier = {host.host: host for host in before.hosts}
    return tuple(change for host in after.hosts for change in _of_host(earlier.get(host.host), host))


def _of_host(before: HostReport | None, after: HostReport) -> Iterator[Change]:
    if after.error is not None:
        if before is None or before.error is None:
            yield Change(after.host, "", "unknown", after.error, after.remedy)
        return
    if before is not None and before.error is not None:
        yield Change(after.host, "", "ok", "answers again")
    # A host that could not be asked said nothing of its certificates.
    if before is None or before.error is not None:
        for certificate in after.certificates:
            yield from _new_findings(None, certificate, after.host)
        return
    earlier = {(each.kind, each.name): each for each in before.certificates}
    for certificate in after.certificates:
        old = earlier.pop((certificate.kind, certificate.name), None)
        if old is None:
            yield Change(after.host, certificate.name, "ok", "is new")
        elif None not in (old.serial, certificate.serial) and old.serial != certificate.serial:
            yield Change(after.host, certificate.name, "ok", f"renewed: serial {certificate.serial}, was {old.serial}")
        yield from _new_findings(old, certificate, after.host)
    for _, name in earlier:
        yield Change(after.host, name, "ok", "is gone")


def _new_findings(before: CertificateReport | None, after: CertificateReport, host: str) -> Iterator[Change]:
    """A message may count minutes, so the code and the status make a finding the same."""
    had, has = worst_by_code(before), worst_by_code(after)
    for code, finding in has.items():
        if code not in had or had[code].status != finding.status:
            yield Change(host, after.name, finding.status, f"{code}: {finding.message}", finding.remedy)
    for code in had.keys() - has.keys():
        yield Change(host, after.name, "ok", f"{code} is over")


def worst_by_code(certificate: CertificateReport | None) -> dict[str, Finding]:
    """One finding for each code; certificate and key may both have one."""
    findings = certificate.findings if certificate else ()
    return {finding.code: finding for finding in sorted(findings, key=lambda finding: weight(finding.status))}
