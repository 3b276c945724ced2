"""Checks of what a TLS client and DNS show, without a look at the host's disk. Pure: values in, findings out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.checks import cross_checks, remedies, service_checks
from meshfab.checks.finding import Finding
from meshfab.checks.report import CertificateReport, weight
from meshfab.errors import one_line
from meshfab.host import certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from meshfab.config.service import Service
    from meshfab.host.tls_client import Served, Verified


def check_served(service: Service, answer: Served, now: datetime) -> Iterator[Finding]:
    """The leaf that a client got: it is for the service's names, and its time is not over."""
    leaf = certificate.leaf_of_der(answer.der)
    if answer.der is None:
        yield Finding(
            "not-served",
            "critical",
            f"nothing answers for {service.fqdn} ({answer.location}: {answer.why or 'no answer'})",
        )
    elif leaf is None or service.fqdn not in leaf.sans:
        what = f"what answers at {answer.location} has no certificate for it"
        yield Finding("not-served", "critical", f"nothing answers for {service.fqdn}: {what}")
    else:
        missing = [name for name in service.names if name not in leaf.sans]
        if missing:
            yield Finding("san-mismatch", "critical", f"the served certificate lacks {', '.join(missing)}")
        yield from service_checks.check_dates(leaf.not_before, leaf.not_after, now)


@dataclass(frozen=True)
class OutsideObservation:
    """One service as clients see it, without any help of its host.

    Attributes:
        resolved: the addresses that its name has here.
        answers: what each address answered.
        is_complete: whether the look-up ended within the time limit.
    """

    resolved: tuple[str, ...] = ()
    answers: tuple[Verified, ...] = ()
    is_complete: bool = False


def evaluate_outside(
    host: str, service: Service, observation: OutsideObservation, now: datetime, public: Sequence[str] = ()
) -> CertificateReport:
    """Evaluate what clients see of a declared service.

    Args:
        host: the host that it is declared for, as it was given.
        service: the service.
        observation: what was seen.
        now: when, UTC.
        public: what public resolvers say.
    """
    findings = [*_check_outside(service, observation, now), *cross_checks.check_public_dns(service, public)]
    remedied = [
        dataclasses.replace(
            finding, remedy=finding.remedy or remedies.for_look(finding, service, host, is_declared=True)
        )
        for finding in dict.fromkeys(findings)
    ]
    # The worst answer is the one that somebody will complain about.
    bad = [each.served for each in observation.answers if each.fault or each.served.der is None]
    answer = next(iter([*bad, *(each.served for each in observation.answers)]), None)
    leaf = certificate.leaf_of_der(answer.der) if answer else None
    return CertificateReport(
        name=service.name,
        fqdn=service.fqdn,
        kind="service",
        not_before=leaf.not_before if leaf else None,
        not_after=leaf.not_after if leaf else None,
        sans=tuple(map(one_line, leaf.sans)) if leaf else (),
        served_serial=str(leaf.serial) if leaf else None,
        served=None if answer is None else not any(f.code in ("not-served", "chain-untrusted") for f in findings),
        findings=tuple(sorted(remedied, key=lambda finding: -weight(finding.status))),
    )


def _check_outside(service: Service, observation: OutsideObservation, now: datetime) -> Iterator[Finding]:
    if not observation.resolved:
        what = "resolves to nothing here" if observation.is_complete else "was not looked up in time"
        remedy = remedies.for_dns(service.fqdn, "", [])
        yield Finding("dns-mismatch", "warning", f"{service.fqdn} {what}", remedy)
        yield Finding("not-served", "critical", f"nothing answers for {service.fqdn} (no address)", remedy)
    for answer in observation.answers:
        yield from check_served(service, answer.served, now)
        if answer.fault:
            what = f"{answer.served.location} does not chain to the mesh's root ({answer.fault})"
            yield Finding("chain-untrusted", "critical", what)
