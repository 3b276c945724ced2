"""The state of the fleet as plain values: frozen, without a connection, and picklable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from meshfab.checks.finding import Finding, Status
    from meshfab.host.history import History

# How closely the fleet was looked at: everything, with root's rights; what hosts publish and clients see, without any
# rights; or what clients see, without SSH.
Look = Literal["full", "quick", "outside"]
# As monitoring plugins do. The worst wins; a known fault outweighs an unknown state.
EXIT = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
_BY_WEIGHT: tuple[Status, ...] = ("ok", "warning", "unknown", "critical")


@dataclass(frozen=True)
class TimerReport:
    """A renewal timer.

    Attributes:
        enabled: whether it starts with the host.
        active: whether it runs.
        last_result: the result of its last tick, in systemd's word (Result in systemctl(1)): "success", "exit-code" …
        next: when the next tick is due, UTC; None when none is.
    """

    enabled: bool
    active: bool
    last_result: str
    next: datetime | None


@dataclass(frozen=True)
class CertificateReport:
    """One certificate on one host, with everything that is known about it.

    Attributes:
        name: the service's short name; the host's own for its identity pair.
        fqdn: the first name that the certificate is for.
        kind: "service" when a service is served with it, "host" when it is the host's own.
        not_before: start of its life, UTC; None where there is no certificate that can be read, as in the next three.
        not_after: end of its life, UTC.
        serial: in decimal, as text: it has more digits than a JSON number can be trusted with.
        sans: the DNS names in it.
        served_serial: that of the leaf that a TLS client gets; None when nothing answered or it was not asked for.
        served: whether that is the one on disk; None when it was not asked for.
        timer: None for the host's own pair, which has none of ours, and where only clients were asked.
        as_of: when the host said this, UTC, by its own clock: the end of the last tick; None for a full look.
        age: how old that was, in seconds.
        history: the host's record of its certificates that have not expired, and the first one of the key in use: the
            `generations`, each with `serial`, `not_before` and `not_after` (UTC), `key_digest` (SHA-256), `provisioner`
            and `is_revoked`, and the number of its `unreadable` lines; None for the host's own pair.
        findings: worst first, each with its `code`, `status`, `message` and `remedy`, the command that heals it.
    """

    name: str
    fqdn: str
    kind: Literal["service", "host"]
    not_before: datetime | None = None
    not_after: datetime | None = None
    serial: str | None = None
    sans: tuple[str, ...] = ()
    served_serial: str | None = None
    served: bool | None = None
    timer: TimerReport | None = None
    history: History | None = None
    as_of: datetime | None = None
    age: float | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def status(self) -> Status:
        """The worst of its findings."""
        return worst(finding.status for finding in self.findings)

    def life_left(self, now: datetime) -> float | None:
        """The part of its life that is left, from 0 to 1."""
        if self.not_before is None or self.not_after is None:
            return None
        span = (self.not_after - self.not_before).total_seconds()
        return min(max((self.not_after - now).total_seconds() / span, 0.0), 1.0) if span > 0 else 0.0


@dataclass(frozen=True)
class HostReport:
    """One host: its certificates, or why it could not be asked.

    Attributes:
        host: its name, as it was given.
        certificates: those of its services, and its own.
        error: why it could not be asked, one line; None when it could.
        remedy: what to do about the error; empty when there is none, or nothing to do.
        seconds: how long that took.
    """

    host: str
    certificates: tuple[CertificateReport, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    remedy: str = ""

    @property
    def status(self) -> Status:
        """The worst of its certificates; unknown when it could not be asked."""
        return "unknown" if self.error is not None else worst(one.status for one in self.certificates)


@dataclass(frozen=True)
class Report:
    """The result of checking the fleet.

    Attributes:
        checked_at: when it began, UTC.
        hosts: every host that was to be asked, in the order it was named in.
        seconds: how long it took.
        was_interrupted: whether it was interrupted before all hosts had answered; those have it as their error.
        look: "full"; "quick": what hosts publish and clients see; "outside": what clients see.
    """

    checked_at: datetime
    hosts: tuple[HostReport, ...]
    seconds: float = 0.0
    was_interrupted: bool = False
    look: Look = "full"

    @property
    def status(self) -> Status:
        """The worst of its hosts."""
        return worst(host.status for host in self.hosts)

    @property
    def exit_status(self) -> int:
        """0 ok, 1 warning, 2 critical, 3 unknown, as monitoring plugins have it."""
        return EXIT[self.status]


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of several statuses: critical over unknown over warning over ok.

    >>> worst(["warning", "critical", "unknown"])
    'critical'
    """
    return max(statuses, key=_BY_WEIGHT.index, default="ok")


def weight(status: Status) -> int:
    """A number for sorting: higher is worse."""
    return _BY_WEIGHT.index(status)
