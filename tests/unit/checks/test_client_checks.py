"""The look from outside: what clients see of a declared service, as findings."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from meshfab.checks.client_checks import OutsideObservation, evaluate_outside
from meshfab.config.service import Service
from meshfab.host import certificate
from meshfab.host.tls_client import Served, Verified
from tests.support.certificates import SERVICE, SETTINGS, authority

if TYPE_CHECKING:
    from meshfab.checks.report import CertificateReport

ADDRESS = "10.87.0.12"


def seen(*answers: Verified, resolved: tuple[str, ...] = (ADDRESS,), service: Service = SERVICE) -> CertificateReport:
    return evaluate_outside(
        "h2", service, OutsideObservation(resolved, answers, is_complete=True), datetime.now(timezone.utc)
    )


def answer(*names: str, fault: str = "", shift: int = 0) -> Verified:
    start = datetime.now(timezone.utc) + timedelta(seconds=shift, hours=-1)
    pair = authority().pair(*(names or (SERVICE.fqdn,)), start=start, life=timedelta(hours=24))
    return Verified(Served(certificate.read_leaf(pair.pem).der, ADDRESS), fault)


def codes(made: CertificateReport) -> dict[str, str]:
    return {finding.code: finding.status for finding in made.findings}


def test_a_trusted_answer_for_the_name_is_fine() -> None:
    made = seen(answer())
    assert (codes(made), made.served) == ({}, True)
    assert made.not_after and made.served_serial and made.serial is None


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda: seen(answer(fault="self-signed certificate")), {"chain-untrusted": "critical"}),
        (lambda: seen(answer("other.internal")), {"not-served": "critical"}),
        (lambda: seen(answer(shift=-24 * 3600)), {"cert-expired": "critical"}),
        (lambda: seen(answer(shift=-20 * 3600)), {"cert-expiring": "warning"}),
        (lambda: seen(answer(shift=2 * 3600)), {"cert-not-yet-valid": "critical"}),
        (lambda: seen(Verified(Served(None, ADDRESS, why="refused"))), {"not-served": "critical"}),
        (lambda: seen(resolved=()), {"not-served": "critical", "dns-mismatch": "warning"}),
        (
            lambda: seen(answer(), service=Service.of(SERVICE.name, SETTINGS, sans=["docs.internal"])),
            {"san-mismatch": "critical"},
        ),
        # One of two addresses of the name.
        (lambda: seen(answer(), Verified(Served(None, "10.87.0.13"))), {"not-served": "critical"}),
    ],
)
def test_what_is_wrong_is_found_with_a_remedy(made: object, found: dict[str, str]) -> None:
    report: CertificateReport = made()  # type: ignore[operator]
    assert codes(report) == found
    assert all(finding.remedy for finding in report.findings)
