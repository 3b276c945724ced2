"""The command that heals a finding, for a service on a host. Pure.

A remedy has our own words only, and those of the operator's request. Of what a host says it has at most a name that
keeps to its grammar, in a command that runs on that host. It never gives a name or the password to a host for a service
that nobody declared there: the host may have made it up.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from meshfab.config import host_pair
from meshfab.nginx import snippets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.checks.finding import Finding
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
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
    finding: Finding,
    service: Service,
    discovery: Discovery,
    reached: str = "",
    provisioner: str = "",
    *,
    publishes: bool = False,
) -> str:
    """The operator's next command about a service's finding.

    Args:
        finding: the finding.
        service: the service.
        discovery: the host, and what is declared on it.
        reached: the address of the host that SSH reached; empty behind a jump host.
        provisioner: the one of the settings.
        publishes: whether the setting `dns` is there.
    """
    state = discovery.state
    options = f"--name {service.name} --host {state.host}"
    if (finding.code, finding.status) == ("not-served", "warning"):
        return f"name it in a vhost of yours, with: include {snippets.path(service, 'tls')};"
    if finding.code == "not-served" and state.unit("nginx.service").active != "active":
        return on_host(state.host, "sudo systemctl start nginx")
    # A renewal has the certificate that is there renewed by the host itself, without the password.
    not_minted = {
        "cert-expiring": f"inv renew {options}",
        "renewal-failed": f"repair what it names, then inv renew {options}",
        "key-old": f"inv rekey {options}",
        "timer-missing": f"inv renew-enable {options}",
        "unit-drift": f"inv renew-enable {options}",
        "undeclared": f"declare it for {state.host} (meshfab.services), or: inv apply --host {state.host} --prune",
    }.get(finding.code)
    if not_minted:
        return not_minted
    if service.name not in discovery.declared:
        # The command that ends it is for what nobody uses; whoever uses it would only be misled by it.
        return _declare_or_end(service, discovery, with_command=finding.code in ("orphan", "cert-missing"))
    if finding.code == "provisioner-other":
        return f"inv reissue {options} --provisioner {shlex.quote(provisioner)}"
    provision = f"inv provision {options}" + "".join(f" --san {name}" for name in service.sans or ())
    return {
        **dict.fromkeys(_PROVISION, provision),
        "cert-not-yet-valid": f"set the clocks right, then {provision}",
        "dns-mismatch": f"inv publish-dns {options}" if publishes else for_dns(service.fqdn, reached, state.addresses),
        "dns-public": f"remove {service.fqdn} from the public zone",
    }.get(finding.code, "")


def for_look(
    finding: Finding,
    service: Service,
    host: str,
    *,
    is_declared: bool,
    address: str = "",
    publishes: bool = False,
) -> str:
    """The same where the host's disk was not looked at: a full look finds the cause where only that can.

    Args:
        finding: the finding.
        service: the service.
        host: the host, as it was named.
        is_declared: whether the settings put the service on the host.
        address: where its name has to lead; empty if that is not known.
        publishes: whether the setting `dns` is there.
    """
    options = f"--name {service.name} --host {host}"
    full = f"inv check-certs --host {host}"
    if finding.code in ("renewal-failed", "cert-expiring"):
        return {"cert-expiring": "", "renewal-failed": "repair what it names, then "}[
            finding.code
        ] + f"inv renew {options}"
    if finding.code == "dns-mismatch" and publishes and is_declared:
        return f"inv publish-dns {options}"
    if finding.code == "dns-mismatch":
        return for_dns(service.fqdn, address, [address] if address else [])
    if finding.code == "dns-public":
        return f"remove {service.fqdn} from the public zone"
    if finding.code == "tick-silent":
        return f"{full} says whether its timer runs; inv renew-enable {options} starts it"
    return f"inv provision {options}" if is_declared and finding.code in _PROVISION else full


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


def for_own_pair(finding: Finding, state: HostState, unit: str, settings: Settings) -> str:
    """The same for the host's identity pair, which step.service renews."""
    if finding.code == "mode-drift":
        # The host says its own name; here it says it to itself.
        _, key = host_pair.patterns(settings.host_certificate) or ("", "")
        return on_host(state.host, f"sudo chmod 0600 {key.replace(host_pair.PLACEHOLDER, '$(hostname -f)')}")
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
