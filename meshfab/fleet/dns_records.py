"""`dns-records`: the records of all declared services, without a connection to any host."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from meshfab.config import inventory
from meshfab.dns.record import Record, normal
from meshfab.errors import InputError
from meshfab.host import tls_client
from meshfab.provisioning import naming
from meshfab.ssh.connection import connect_by_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.settings import Settings


def declared(settings: Settings, config: Any = None) -> tuple[Record, ...]:
    """The records of the declared services, sorted by name.

    A host's address is the one that SSH would connect to: HostName in the SSH configuration, or what the host's name
    resolves to here; in `mesh_network`, if that is set.

    Args:
        settings: the mesh's conventions and `services`.
        config: an Invoke or Fabric configuration to carry on.

    Raises:
        InputError: a declaration is not usable, or the address of a host is not known here.
    """
    inventory.check(settings)
    addresses: dict[str, list[str]] = {}
    for host in inventory.declarations_by_host(settings):
        of_host = _addresses(host, settings, config)
        for service in inventory.services(host, settings):
            for fqdn in naming.names(service, settings):
                addresses.setdefault(fqdn, []).extend(of_host)
    return tuple(Record(fqdn, normal(addresses[fqdn])) for fqdn in sorted(addresses))


def _addresses(host: str, settings: Settings, config: Any) -> Sequence[str]:
    name = str(connect_by_settings(host, settings, config).host)
    found = tls_client.resolve(name)
    inside = [each for each in found if not settings.mesh_network or _is_inside(each, settings.mesh_network)]
    if not inside:
        where = f" in {', '.join(settings.mesh_network)}" if found else ""
        what = f"no address of {host}{where} is known here ({name} resolves to {', '.join(found) or 'nothing'})"
        raise InputError(what, remedy="set its HostName in the SSH configuration to its mesh address")
    return inside


def _is_inside(address: str, networks: Sequence[str]) -> bool:
    return any(ip_address(address.partition("%")[0]) in ip_network(network) for network in networks)
