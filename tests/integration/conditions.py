"""Faults made for real on a host of the lab, and the remedies that a message names carried out to the letter."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.services import dns, hosts
from tests.integration.service_on_host import ServiceOnHost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.checks.finding import Finding
    from meshfab.checks.report import CertificateReport, HostReport

_INV = str(Path(sys.executable).with_name("inv"))


@dataclass
class VhostPath(ServiceOnHost):
    """One service on one host, which nobody has set up yet."""

    name: str
    host: str

    def self_sign(self) -> None:
        """A pair that nobody of the mesh has signed."""
        self.sh(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={self.fqdn}"
            f" -addext subjectAltName=DNS:{self.fqdn} -keyout {self.key} -out {self.cert} 2>/dev/null"
        )

    def unstub(self) -> None:
        self.sh("rm -f /usr/local/sbin/* /usr/local/bin/sudo")


def of(report: HostReport, name: str, kind: str = "service") -> CertificateReport:
    """The certificate of a name in a host's report."""
    assert report.error is None, report.error
    return next(one for one in report.certificates if one.name == name and one.kind == kind)


def codes(one: CertificateReport) -> list[str]:
    return sorted({finding.code for finding in one.findings})


def heal(finding: Finding, *, by_ending: bool = False) -> None:
    """Do what the message says, word for word; what only a person can do is done by the test."""
    heals, _, ends = finding.remedy.partition("; else end it: ")
    for step in (ends if by_ending else heals).split(", then "):
        _carry_out(step)


def _carry_out(step: str) -> None:
    pointed = re.fullmatch(r"point ([a-z0-9-]+)\.internal at (\S+) in the mesh's DNS", step)
    if pointed:
        host = next(host for host in hosts.names() if layout.address(host) == pointed[2])
        dns.point(pointed[1], host)
    elif step.startswith("inv "):
        _run([_INV, *shlex.split(step)[1:]])
    elif step.startswith("ssh "):
        _run(shlex.split(step))
    else:
        assert step in ("set the clocks right", "repair what it names"), step


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{shlex.join(argv)}\n{done.stdout}{done.stderr}"
