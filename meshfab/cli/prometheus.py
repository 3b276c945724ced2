"""A report as Prometheus metrics, for node_exporter's textfile collector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.checks.report import EXIT, worst
from meshfab.errors import one_line

if TYPE_CHECKING:
    from datetime import datetime

    from prometheus_client import CollectorRegistry, Gauge

    from meshfab.checks.report import CertificateReport, HostReport, Report

_EACH = ("host", "name", "fqdn", "kind")
_ABOUT = {
    "meshfab_certificate_not_before_timestamp_seconds": ("Start of the certificate's life.", _EACH),
    "meshfab_certificate_expiry_timestamp_seconds": ("End of the certificate's life; it stays after the end.", _EACH),
    "meshfab_certificate_status": ("0 ok, 1 warning, 2 critical, as the exit status of check-certs.", _EACH),
    "meshfab_certificate_served": ("Whether TLS clients get the certificate that is on disk.", _EACH),
    "meshfab_finding_status": ("1 warning, 2 critical, for each finding that there is.", (*_EACH, "code")),
    "meshfab_timer_active": ("Whether the renewal timer is enabled and active.", _EACH),
    "meshfab_timer_last_success": ("Whether the last renewal tick ended well.", _EACH),
    "meshfab_timer_next_timestamp_seconds": ("When the next renewal tick is due.", _EACH),
    "meshfab_tick_age_seconds": ("How old the host's word was, in a quick look.", _EACH),
    "meshfab_host_reachable": ("Whether the host could be asked.", ("host",)),
    "meshfab_host_duration_seconds": ("How long it took to ask the host.", ("host",)),
    "meshfab_sweep_timestamp_seconds": ("When the fleet was last asked.", ()),
    "meshfab_sweep_duration_seconds": ("How long it took to ask the whole fleet.", ()),
    "meshfab_sweep_status": ("0 ok, 1 warning, 2 critical, 3 unknown: the exit status of check-certs.", ()),
}


def text(report: Report) -> str:
    """The report in the exposition format."""
    from prometheus_client import generate_latest

    return generate_latest(_registry(report)).decode()


def _registry(report: Report) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    gauges = {name: Gauge(name, about, labels, registry=registry) for name, (about, labels) in _ABOUT.items()}
    gauges["meshfab_sweep_timestamp_seconds"].set(report.checked_at.timestamp())
    gauges["meshfab_sweep_duration_seconds"].set(round(report.seconds, 3))
    gauges["meshfab_sweep_status"].set(report.exit_status)
    for host in report.hosts:
        name = one_line(host.host)
        gauges["meshfab_host_reachable"].labels(name).set(host.error is None)
        gauges["meshfab_host_duration_seconds"].labels(name).set(round(host.seconds, 3))
        for certificate in host.certificates:
            _certificate(gauges, host, certificate)
    return registry


def _certificate(gauges: dict[str, Gauge], host: HostReport, certificate: CertificateReport) -> None:
    each = tuple(map(one_line, (host.host, certificate.name, certificate.fqdn, certificate.kind)))
    timer = certificate.timer
    values: dict[str, float | None] = {
        "meshfab_certificate_not_before_timestamp_seconds": _seconds(certificate.not_before),
        "meshfab_certificate_expiry_timestamp_seconds": _seconds(certificate.not_after),
        "meshfab_certificate_status": EXIT[certificate.status],
        "meshfab_certificate_served": certificate.served,
        "meshfab_tick_age_seconds": certificate.age,
        "meshfab_timer_active": (timer.enabled and timer.active) if timer else None,
        "meshfab_timer_last_success": timer.last_result in ("", "success") if timer else None,
        "meshfab_timer_next_timestamp_seconds": _seconds(timer.next) if timer else None,
    }
    for name, value in values.items():
        # A metric without a value is omitted: 0 would mean 1970, or a fault.
        if value is not None:
            gauges[name].labels(*each).set(value)
    for code in {finding.code for finding in certificate.findings}:
        # Two findings with the same code, as for certificate and key, are one metric.
        status = worst(finding.status for finding in certificate.findings if finding.code == code)
        gauges["meshfab_finding_status"].labels(*each, code).set(EXIT[status])


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
