"""What to do about a finding: the command that heals it, for a service on a host. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshfab.checks.finding import Finding
    from meshfab.config.service import Service
    from meshfab.host.discovery import Discovery, HostCertificate
    from meshfab.host.facts import HostState

_PROVISION = {
    "cert-missing",
    "cert-unreadable",
    "cert-expired",
    "san-mismatch",
    "chain-untrusted",
    "key-missing",
    "key-mismatch",
    "mode-drift",
    "acl-missing",
    "served-stale",
    "not-served",
}
_PORT = re.compile(r":[0-9]{1,5}\Z", re.ASCII)


def for_service(finding: Finding, service: Service, seen: Discovery) -> str:
    """The operator's next command about a service's finding."""
    state = seen.state
    where = f"--name {service.name} --host {state.host}"
    provision = f"inv provision {where}" + "".join(f" --san {name}" for name in service.sans or ())
    if finding.code == "orphan" or (finding.code == "cert-missing" and service.name not in seen.declared):
        return f"{provision}, or end it: {_end(service, seen)}"
    if finding.code == "not-served" and state.unit("nginx.service").active != "active":
        return on_host(state.host, "sudo systemctl start nginx")
    if finding.code == "dns-mismatch":
        return f"point {service.fqdn} at {next(iter(state.addresses), 'its address')} in the mesh's DNS"
    return {
        **dict.fromkeys(_PROVISION, provision),
        "cert-not-yet-valid": f"set the clocks right, then {provision}",
        "cert-expiring": f"inv renew {where}",
        "renewal-failed": f"repair what it names, then inv renew {where}",
        "timer-missing": f"inv renew-enable {where}",
        "unit-drift": f"inv renew-enable {where}",
        "dns-public": f"take {service.fqdn} out of the public zone",
    }.get(finding.code, "")


def _end(service: Service, seen: Discovery) -> str:
    """How a service that nobody wants any more is taken away, as far as it is there."""
    timer, words = seen.state.unit(service.timer), []
    if timer.enabled == "enabled" or timer.active == "active":
        words.append(on_host(seen.state.host, f"sudo systemctl disable --now {service.timer}"))
    if service.name in seen.vhosted:
        words.append("take its vhost out")
    pair = [path for path in (service.cert, service.key) if path in seen.state.stats]
    if pair:
        words.append(on_host(seen.state.host, f"sudo rm -f {' '.join(pair)}"))
    return ", then ".join(words)


def for_own_pair(finding: Finding, own: HostCertificate, state: HostState, unit: str) -> str:
    """The same for the host's identity pair, which step.service keeps."""
    if finding.code == "mode-drift":
        return on_host(state.host, f"sudo chmod 0600 {own.key}")
    return f"{on_host(state.host, f'sudo systemctl restart {unit}')}, and see its journal"


def for_secret(path: str, host: str) -> str:
    """What to do about a password that was left."""
    return on_host(host, f"sudo rm -rf {shlex.quote(path)}")


def for_clock(host: str) -> str:
    """What to do about a clock."""
    return on_host(host, "sudo timedatectl set-ntp true")


def on_host(host: str, command: str) -> str:
    """A command for the operator to type here that runs there; ssh(1) takes a port by an option only."""
    port = _PORT.search(host)
    bare = host[: port.start()] if port else host
    return (
        f"ssh {f'-p {port[0][1:]} ' if port else ''}{bare} {shlex.quote(command) if _is_compound(command) else command}"
    )


def _is_compound(command: str) -> bool:
    # What ssh joins with blanks is parsed once more by the login's shell there.
    return shlex.split(command) != command.split()
