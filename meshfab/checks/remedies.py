"""The command that heals a finding, for a service on a host. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from meshfab.nginx import snippets

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


def for_service(finding: Finding, service: Service, discovery: Discovery) -> str:
    """The operator's next command about a service's finding."""
    state = discovery.state
    options = f"--name {service.name} --host {state.host}"
    provision = f"inv provision {options}" + "".join(f" --san {name}" for name in service.sans or ())
    if finding.code == "orphan" or (finding.code == "cert-missing" and service.name not in discovery.declared):
        return f"{provision}, or end it: {_end(service, discovery)}"
    if (finding.code, finding.status) == ("not-served", "warning"):
        return f"name it in a vhost of yours, with: include {snippets.path(service, 'tls')};"
    if finding.code == "not-served" and state.unit("nginx.service").active != "active":
        return on_host(state.host, "sudo systemctl start nginx")
    if finding.code == "dns-mismatch":
        return f"point {service.fqdn} at {next(iter(state.addresses), 'its address')} in the mesh's DNS"
    return {
        **dict.fromkeys(_PROVISION, provision),
        "cert-not-yet-valid": f"set the clocks right, then {provision}",
        "cert-expiring": f"inv renew {options}",
        "renewal-failed": f"repair what it names, then inv renew {options}",
        "timer-missing": f"inv renew-enable {options}",
        "unit-drift": f"inv renew-enable {options}",
        "dns-public": f"remove {service.fqdn} from the public zone",
    }.get(finding.code, "")


def _end(service: Service, discovery: Discovery) -> str:
    """The commands that remove a service, as far as it exists."""
    timer, commands = discovery.state.unit(service.timer), []
    if timer.enabled == "enabled" or timer.active == "active":
        commands.append(on_host(discovery.state.host, f"sudo systemctl disable --now {service.timer}"))
    if service.name in discovery.vhosted:
        commands.append("remove its vhost")
    pair = [path for path in (service.cert, service.key) if path in discovery.state.stats]
    if pair:
        commands.append(on_host(discovery.state.host, f"sudo rm -f {' '.join(pair)}"))
    return ", then ".join(commands)


def for_own_pair(finding: Finding, host_pair: HostCertificate, state: HostState, unit: str) -> str:
    """The same for the host's identity pair, which step.service renews."""
    if finding.code == "mode-drift":
        return on_host(state.host, f"sudo chmod 0600 {host_pair.key}")
    return f"{on_host(state.host, f'sudo systemctl restart {unit}')}, and see its journal"


def for_secret(path: str, host: str) -> str:
    """The command that removes a password file."""
    return on_host(host, f"sudo rm -rf {shlex.quote(path)}")


def for_clock(host: str) -> str:
    """The command that sets the clock."""
    return on_host(host, "sudo timedatectl set-ntp true")


def on_host(host: str, command: str) -> str:
    """A command for the operator that runs on the host; ssh(1) takes a port only as an option."""
    port = _PORT.search(host)
    bare = host[: port.start()] if port else host
    return (
        f"ssh {f'-p {port[0][1:]} ' if port else ''}{bare} {shlex.quote(command) if _is_compound(command) else command}"
    )


def _is_compound(command: str) -> bool:
    # ssh joins its arguments with blanks, and the login's shell on the host parses the result again.
    return shlex.split(command) != command.split()
