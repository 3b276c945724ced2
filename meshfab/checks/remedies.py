"""The command that heals a finding, for a service on a host. Pure.

A remedy has our own words only, and those of the operator's request. Of what a host says it has at most a name that
keeps to its grammar, in a command that runs on that host. It never gives a name or the password to a host for a service
that nobody declared there: the host may have made it up.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from meshfab.host.discovery import OWN_KEY
from meshfab.nginx import snippets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.checks.finding import Finding
    from meshfab.config.service import Service
    from meshfab.host.discovery import Discovery
    from meshfab.host.facts import HostState

# What a new run of `provision` heals.
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


def for_service(
    finding: Finding, service: Service, discovery: Discovery, reached: str = "", provisioner: str = ""
) -> str:
    """The operator's next command about a service's finding.

    Args:
        finding: the finding.
        service: the service.
        discovery: the host, and what is declared on it.
        reached: the address of the host that SSH reached; empty behind a jump host.
        provisioner: the one of the settings.
    """
    state = discovery.state
    options = f"--name {service.name} --host {state.host}"
    if (finding.code, finding.status) == ("not-served", "warning"):
        return f"name it in a vhost of yours, with: include {snippets.path(service, 'tls')};"
    if finding.code == "not-served" and state.unit("nginx.service").active != "active":
        return on_host(state.host, "sudo systemctl start nginx")
    # A renewal has the certificate that is there renewed by the host itself, without the password.
    renewal = {
        "cert-expiring": f"inv renew {options}",
        "renewal-failed": f"repair what it names, then inv renew {options}",
        "key-old": f"inv rekey {options}",
        "timer-missing": f"inv renew-enable {options}",
        "unit-drift": f"inv renew-enable {options}",
    }.get(finding.code)
    if renewal:
        return renewal
    if service.name not in discovery.declared:
        # The command that ends it is for what nobody uses; whoever uses it would only be misled by it.
        return _declare_or_end(service, discovery, with_command=finding.code in ("orphan", "cert-missing"))
    if finding.code == "provisioner-other":
        return f"inv reissue {options} --provisioner {shlex.quote(provisioner)}"
    provision = f"inv provision {options}" + "".join(f" --san {name}" for name in service.sans or ())
    return {
        **dict.fromkeys(_PROVISION, provision),
        "cert-not-yet-valid": f"set the clocks right, then {provision}",
        "dns-mismatch": for_dns(service.fqdn, reached, state.addresses),
        "dns-public": f"remove {service.fqdn} from the public zone",
    }.get(finding.code, "")


def for_dns(fqdn: str, reached: str, host_addresses: Sequence[str]) -> str:
    """Where a name has to lead: to the address that SSH reached, if the host has it; no other is surely its own."""
    address = reached if reached in host_addresses else "the host's mesh address"
    return f"point {fqdn} at {address} in the mesh's DNS"


def _declare_or_end(service: Service, discovery: Discovery, *, with_command: bool) -> str:
    """The choice about a service that nobody declared on the host; only the operator knows whether it belongs there."""
    name, host = service.name, discovery.state.host
    choice = (
        f"if {name} belongs on {host}, declare it there (meshfab.services), then inv apply --host {host}; else end it"
    )
    return f"{choice}: inv retire --name {name} --host {host}" if with_command else choice


def for_own_pair(finding: Finding, state: HostState, unit: str) -> str:
    """The same for the host's identity pair, which step.service renews."""
    if finding.code == "mode-drift":
        # The host says its own name; here it says it to itself.
        return on_host(state.host, f"sudo chmod 0600 {OWN_KEY}/$(hostname -f).pem")
    return f"{on_host(state.host, f'sudo systemctl restart {unit}')}, and see its journal"


def for_secret(path: str, host: str) -> str:
    """The command that removes a password file, whose path `discovery.parse` checked."""
    return on_host(host, f"sudo rm -rf {path}")


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
    return any(shlex.quote(word) != word for word in command.split())
